"""Score distillation: from a prior's opinion of a picture to a gradient on it."""

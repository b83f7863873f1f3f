"""Many prompts, one run each: checked before anything starts, worked off side by side, and continued after a stop."""

"""The closed world: toy objects, their captions and pictures, and the training of the embedded prior."""

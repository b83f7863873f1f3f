"""The closed world: toy objects as signed distances, their captions and pictures, and the training of the embedded prior."""

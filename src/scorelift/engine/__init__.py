"""The loop, runs on disk, progress, and `generate`."""

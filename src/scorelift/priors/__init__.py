"""Frozen 2-D models, each seen as one denoiser."""

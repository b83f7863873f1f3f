"""Stateless maths: diffusion conversions, cameras, lights, scalar schedules, errors."""

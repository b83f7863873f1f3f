"""From an optimized scene to files people open: meshes, pictures, video, a report."""

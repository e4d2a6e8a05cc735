"""Metrics, images, checkpoints and processes: what every part of the system uses."""

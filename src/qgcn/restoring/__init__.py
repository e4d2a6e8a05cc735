"""Restoring: a model, its tiles, and anybody's files."""

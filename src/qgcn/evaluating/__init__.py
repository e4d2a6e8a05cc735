"""Evaluating: data sets, metrics, images -> rows, rows -> tables."""

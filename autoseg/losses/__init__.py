"""Losses of segmentation, one file per family."""

"""Losses of segmentation, one file a family."""

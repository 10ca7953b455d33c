"""Segmentation: a value for each voxel of an image."""

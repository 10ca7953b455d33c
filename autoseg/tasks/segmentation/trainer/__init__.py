"""Segmentation networks in the training loop, alone and as the two stages of a cascade."""

"""Pretraining on folders of images: which images, which plan, the training, and what it is good for."""

"""Models of nnU-Net v2 in, and models for nnU-Net v2 out."""

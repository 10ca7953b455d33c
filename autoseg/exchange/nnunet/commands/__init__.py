"""The command that brings a model of nnU-Net v2."""

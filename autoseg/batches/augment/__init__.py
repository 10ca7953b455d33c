"""Augmentation: random transforms that draw their parameters first and call their deterministic twins."""

"""How well a prediction agrees with its reference: overlap and surface distances, one table row per metric."""

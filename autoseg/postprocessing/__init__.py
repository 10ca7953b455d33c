"""Removing components that are no object, where cross-validation shows that it helps."""

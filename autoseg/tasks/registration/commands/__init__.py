"""Commands that lay images on each other."""

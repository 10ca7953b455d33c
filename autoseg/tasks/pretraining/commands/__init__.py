"""Commands that learn from images without labels."""

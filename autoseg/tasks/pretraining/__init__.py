"""Learning an encoder from images without labels: losses, masks, views, heads, a momentum teacher, methods."""

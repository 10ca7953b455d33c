"""Models in the forms of other software. Nothing imports them."""

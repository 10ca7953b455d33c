"""Labels of several raters: how far they agree, and a consensus of them."""

"""Parts of the experiment with few labels."""

"""A trained model as one zip file."""

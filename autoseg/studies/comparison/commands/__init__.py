"""The command that compares methods."""

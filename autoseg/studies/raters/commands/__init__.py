"""The command that compares raters."""

"""The command that runs a published benchmark again, and the list of those that are known."""

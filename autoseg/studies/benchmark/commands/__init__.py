"""The command that runs a published benchmark again."""

"""What the report of a run shows of a published benchmark."""

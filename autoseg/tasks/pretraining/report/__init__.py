"""What the report shows of a pretraining."""

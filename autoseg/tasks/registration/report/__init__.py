"""What pages show of a registration."""

"""What two versions of the project are compared by, bit for bit."""

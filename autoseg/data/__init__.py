"""Images, labels and data sets: reading, checking, splitting and writing them. Arrays are (C, Z, Y, X)."""

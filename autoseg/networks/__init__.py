"""U-Nets from plans: building blocks, one file per family, construction and weight transfer."""

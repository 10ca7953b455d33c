"""U-Nets from plans: building blocks, one file a family, construction and weight transfer."""

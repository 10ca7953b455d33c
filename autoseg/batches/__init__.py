"""From preprocessed cases to batches: which places are drawn, how they are augmented, how workers deliver them."""

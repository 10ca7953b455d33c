"""How methods are compared: which ones, each run in a process of its own, and the trained model as one of them."""

"""Registration by a network that has learned it on other pairs: the network, its loss, and refinement of one pair."""

"""Learning to register: pairs of cases in batches, the task that the loop trains, the trained model, its validation."""

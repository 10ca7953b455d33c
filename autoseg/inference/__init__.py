"""From a trained model and an image to labels in the image's own geometry."""

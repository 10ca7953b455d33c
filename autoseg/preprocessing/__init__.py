"""Images as a network sees them, cropped, resampled and normalized, in a store; and the way back."""

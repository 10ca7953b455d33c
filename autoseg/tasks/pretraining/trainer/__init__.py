"""Self-supervised pretraining as a trainer: options, sources of images, batches of views, task, examples."""

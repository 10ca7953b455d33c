"""The methods of self-supervised pretraining, one a file; `build.build_method` makes one from its name and options."""

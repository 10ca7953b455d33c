"""Scripts that the interpreter of nnU-Net's environment runs; each prints one line of JSON last."""

"""autoseg beside nnU-Net v2: the same work on the same machine, in turns. `python -m benchmarks.peer --help`."""

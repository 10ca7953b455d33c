"""The training loop and its services. It knows no task: what is trained stands in `autoseg.tasks`."""

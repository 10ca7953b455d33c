"""Policy: planners decide what a data set, a device and a time call for. One file per family."""

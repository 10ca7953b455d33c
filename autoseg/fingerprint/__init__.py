"""A data set, measured: sizes, spacings, intensities and classes of every case, for the planner."""

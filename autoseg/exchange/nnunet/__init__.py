"""Models of nnU-Net v2 (Isensee et al., 2021): read into a run folder, and written from one."""

"""What the registration benchmarks share: cases, tools beside ours, scores, tables."""

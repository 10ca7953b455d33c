"""The report of a run: one HTML file, section by section."""

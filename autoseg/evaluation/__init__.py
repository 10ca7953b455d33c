"""Scores of files and of whole runs, and their summaries."""

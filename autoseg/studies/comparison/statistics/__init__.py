"""Scores of several methods in one table, their differences, and how sure these are."""

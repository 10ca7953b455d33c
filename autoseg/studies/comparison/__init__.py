"""Methods side by side on the same cases, with tests."""

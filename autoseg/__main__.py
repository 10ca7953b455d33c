"""`python -m autoseg`, the same as the command `autoseg`."""

from __future__ import annotations

from autoseg.cli.main import main

if __name__ == "__main__":
    main()

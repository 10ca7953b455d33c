"""nnU-Net's command `nnUNetv2_determine_postprocessing`, with the seconds of its work without start-up.

Its arguments are the command's own.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

from nnunetv2.postprocessing.remove_connected_components import entry_point_determine_postprocessing_folder


def main() -> None:
    """The command."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        entry_point_determine_postprocessing_folder()
    print(json.dumps({"seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()

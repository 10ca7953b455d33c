"""nnU-Net's resampling of one array: seconds of the call; the result is kept beside."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="holds array.npy (C, Z, Y, X) and setting.json")
    folder = parser.parse_args().folder
    array = np.load(folder / "array.npy")
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    result = resample_data_or_seg_to_shape(
        array,
        setting["shape"],
        setting["spacing_from"],
        setting["spacing_to"],
        is_seg=setting["labels"],
        order=1 if setting["labels"] else setting["order"],
        order_z=0,
        force_separate_z=None,
    )
    seconds = time.perf_counter() - start
    np.save(folder / "peer.npy", result)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()

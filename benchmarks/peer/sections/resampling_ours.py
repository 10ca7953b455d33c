"""This project's resampling of one array: seconds of the call; the result is kept beside."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from autoseg.preprocessing.resample import resize
from autoseg.preprocessing.resample_labels import resize_labels


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="holds array.npy (C, Z, Y, X) and setting.json")
    folder = parser.parse_args().folder
    array = np.load(folder / "array.npy")
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    shape, spacings = setting["shape"], {name: setting[name] for name in ("spacing_from", "spacing_to")}
    start = time.perf_counter()
    if setting["labels"]:
        result = resize_labels(array[0], shape, **spacings)[None]
    else:
        result = resize(array, shape, **spacings, order=setting["order"])
    seconds = time.perf_counter() - start
    np.save(folder / "ours.npy", result)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()

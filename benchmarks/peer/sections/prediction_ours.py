"""Where the seconds of `autoseg predict` go: the same calls one after the other, timed.

    prediction_ours.py RUN IMAGES OUT --threads N

Prints JSON: part -> seconds. In the command itself reading, computing and writing of different cases overlap.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

START = time.perf_counter()


def main() -> None:
    """Predicts the images and prints the seconds of each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    seconds: dict[str, float] = defaultdict(float)
    last = START

    def passed(part: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[part] += now - last
        last = now

    import torch

    torch.set_num_threads(options.threads)
    passed("importing PyTorch")
    from autoseg.data.discovery import find_cases
    from autoseg.data.files import read_case
    from autoseg.inference.predictor import Predictor
    from autoseg.inference.writing import CaseWriter, Computed

    passed("importing the rest")
    predictor = Predictor.load(options.run, device="cpu")
    plan = predictor.plan
    writer = CaseWriter(options.out, plan.file_ending, plan.labels)
    passed("loading the networks")
    for case in find_cases([options.images], len(plan.channels)):
        image = read_case(case, len(plan.channels))
        passed("reading")
        prepared = [model.prepare(image) for model in predictor.models]
        passed("preprocessing")
        logits = [(model.logits(one), one.properties) for model, one in zip(predictor.models, prepared, strict=True)]
        computed = Computed(tuple(logits)).in_memory()
        passed("the networks")
        reduced = writer.reduce(case.id, computed)
        passed("resampling and labels")
        writer.write(case.id, reduced)
        passed("writing")
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()

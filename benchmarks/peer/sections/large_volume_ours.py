"""Where our prediction of a large volume spends its time: its parts, one after the other, as JSON of seconds.

Run as `python -m benchmarks.peer.sections.large_volume_ours RUN IMAGE`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from autoseg.data.dataset import Case
from autoseg.data.files import read_case
from autoseg.inference.predictor import Predictor
from autoseg.inference.rows import in_memory
from autoseg.inference.writing import CaseWriter, Computed

_seconds: dict[str, float] = {}
_start = time.perf_counter()


def _finished(part: str) -> None:
    global _start
    now = time.perf_counter()
    _seconds[part], _start = now - _start, now


def main(run: Path, image: Path) -> None:
    """The command."""
    predictor = Predictor.load(run, device="cpu", mirroring=False)
    (model,) = predictor.models
    _finished("loading the model")
    read = read_case(Case(id="body", images=(image,)), 1)
    _finished("reading")
    prepared = model.prepare(read)
    del read
    _finished("normalising and resampling the image")
    rows = in_memory(model.logits(prepared))
    _finished("network and sums")
    with tempfile.TemporaryDirectory() as folder:
        writer = CaseWriter(Path(folder), ".nii.gz", predictor.plan.labels)
        reduced = writer.reduce("body", Computed(((rows, prepared.properties),)))
        _finished("resampling and reducing the logits")
        writer.write("body", reduced)
    _finished("writing")
    sys.stdout.write(json.dumps(_seconds) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

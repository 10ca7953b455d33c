"""Known transforms of real images, and how closely registration finds them again.

    python benchmarks/registration_recovery.py IMAGE... [--seeds 3] [--similarities mutual-information,mind,...]

Each image is laid on what it becomes under a rigid, an affine and a smooth transform drawn at random
(`benchmarks/registration/known.py`), with its own intensities and with those of "another modality", in which bright is
dark and the contrasts are others. Prints the mean distance in mm between where the fixed voxels are taken and where
they belong, over voxels with something to see around them: the mean over images and seeds, and the worst of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.data.files import read_image
from autoseg.tasks.registration.methods import RegistrationOptions, StageName, register
from benchmarks.registration.known import Kind, known_pair, turned_grey

STAGES: dict[Kind, tuple[StageName, ...]] = {
    "rigid": ("center", "rigid"),
    "affine": ("center", "affine"),
    "smooth": ("deformable",),
}
SIMILARITIES = "ssd,mutual-information,gradient-fields,mind,default"


def main() -> None:
    """Prints the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--similarities", default=SIMILARITIES, help="names of plug-ins; `default`: the stages' own")
    arguments = parser.parse_args()
    images = [read_image(path) for path in arguments.images]
    print("| transform | intensities | similarity | untouched mm | found mm | worst mm |")
    print("| --------- | ----------- | ---------- | ------------ | -------- | -------- |")
    for kind, stages in STAGES.items():
        for title, grey in (("same", None), ("other modality", turned_grey)):
            pairs = [
                known_pair(image, kind, seed=seed, grey=grey) for image in images for seed in range(arguments.seeds)
            ]
            before = np.mean([pair.untouched for pair in pairs])
            for name in arguments.similarities.split(","):
                options = RegistrationOptions(stages=stages, similarity=None if name == "default" else name)
                found = [pair.error(register(pair.pair, options).transform) for pair in pairs]
                print(
                    f"| {kind} | {title} | {name} | {before:.2f} | {np.mean(found):.2f} | {max(found):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

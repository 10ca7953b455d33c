"""Registration between subjects: our methods beside other tools on the same pairs of hippocampus cases.

    python benchmarks/registration_hippocampus.py DATA --out DIR [--peer-python .venv-registration/bin/python]
        [--methods multi-stage,greedy,...] [--model NAME=RUN] [--pairs 0-19] [--split training] [--page FILE.md]

DATA is Task04_Hippocampus of the Medical Segmentation Decathlon. Of its sorted identifiers, fold 0 of five (seed 12345)
leaves 52 for validation. Pair k has case k of these as the fixed image and case k + 13, counted round, as the moving
one; k is 0 to 39. Each volume lies in the middle of 64 x 64 x 64 voxels of 1 mm, z-scored, 0 around it. Settings are to
be chosen on `--split training`.

Every tool gets the same two arrays and one thread, and gives back a displacement for each voxel of the fixed image;
labels are warped and scored here by the same code for all. The tools live in an environment of their own:

    python -m venv .venv-registration
    .venv-registration/bin/pip install -r benchmarks/registration/requirements.txt

A tool that is not installed there is said in the table. `--model` adds the network of a run that `autoseg
plan-and-train --trainer registration` made: its fold 0, which has not seen the validation cases. As a method, NAME:N
is that network with N updates of the pair after it instead of its own number. Results are kept in
DIR pair by pair: a second call goes on and measures only what is missing; `--again NAMES` forgets some methods, ours
after a change of them, say. Writes DIR/SPLIT.csv and DIR/SPLIT.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoseg.errors import AutosegError
from autoseg.records import write_text
from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Displacement
from benchmarks.registration.cases import PairOfCases, Subject, case_pairs, cases_of, read_subject
from benchmarks.registration.ours import CENTRED, Method, find_method, timed
from benchmarks.registration.outcomes import MethodOutcomes, Outcome, load, save, scored
from benchmarks.registration.page import page, pair_rows
from benchmarks.registration.peers import PEERS, Peer, PeerFailed, PeerMissing, Registered

REFERENCE = "multi-stage"
OURS = ("multi-stage:center+affine", REFERENCE, "drmime")
PAIRS = "0-39"

BY_NAME = ("ants-syn-cc", "elastix-bspline")
"""Measured only where `--methods` names them: the first takes half a minute a pair."""

SETTINGS = {
    CENTRED: "the middles of the fields of view on each other",
    "multi-stage:center+affine": "only these stages",
    "simpleitk-affine": "correlation of all voxels, three resolutions",
    "simpleitk-demons": "diffeomorphic, after that affine registration, three resolutions, smoothing 1 voxel",
    "elastix-affine": "its own parameter map",
    "elastix-bspline": "its own parameter maps affine and bspline",
    "ants-affine": "its own settings, from the identity",
    "ants-syn": "its own settings, from the identity",
    "ants-syn-cc": "local correlation with radius 2, 100x50x10 iterations",
    "greedy-affine": "12 degrees of freedom, NCC 2x2x2, 100x50x10 iterations",
    "greedy": "after that, deformable with the same",
    "convexadam": "MIND features, its own settings",
}

Register = Callable[[Subject, Subject], Registered]


def measure(
    name: str, register: Register, pairs: Sequence[PairOfCases], read: Callable[[str], Subject], kept: Path
) -> None:
    """Registers and scores what is not yet kept of some pairs, and keeps each."""
    outcomes = load(kept, name)
    for pair in pairs:
        if pair.name in outcomes.pairs:
            continue
        fixed, moving = read(pair.fixed), read(pair.moving)
        try:
            outcome = scored(register(fixed, moving), fixed, moving)
        except (PeerFailed, AutosegError) as error:
            outcome = Outcome(failure=str(error).split("\n")[0])
        outcomes = outcomes.with_pair(pair.name, outcome)
        save(kept, name, outcomes)
        print(f"{name}  pair {pair.number}  Dice {outcome.dice:.3f}  {outcome.failure or ''}", flush=True)


def measure_peer(
    name: str, python: Path | None, pairs: Sequence[PairOfCases], read: Callable[[str], Subject], kept: Path
) -> None:
    """`measure` with a tool of the other environment; a tool that is not there is kept as missing."""
    outcomes = load(kept, name)
    if all(pair.name in outcomes.pairs for pair in pairs):
        return
    try:
        if python is None:
            raise PeerMissing("not run: no --peer-python")
        with Peer(python, name, kept / f"{name}.log") as peer:
            save(kept, name, outcomes.with_(made_by=peer.versions, missing=None))
            measure(name, partial(_by_peer, peer), pairs, read, kept)
    except PeerMissing as missing:
        save(kept, name, outcomes.with_(missing=str(missing)))


def _by_peer(peer: Peer, fixed: Subject, moving: Subject) -> Registered:
    grid = Grid.of(fixed.image)
    return peer.register(fixed.image.array[0], moving.image.array[0], grid, grid)


def _by_us(method: Method, fixed: Subject, moving: Subject) -> Registered:
    found = timed(method, fixed.oriented, moving.oriented)
    along_axes = found.transform.grid.steps_to_index(found.transform.field.movedim(0, -1)).movedim(-1, 0)
    return replace(found, transform=Displacement(Grid.of(fixed.image), along_axes))


def _numbers(text: str) -> list[int]:
    """`0-19,30` as numbers."""
    ends = [part.partition("-") for part in text.split(",")]
    return [number for first, _, last in ends for number in range(int(first), int(last or first) + 1)]


def _model(text: str) -> tuple[str, Path]:
    name, found, run = text.partition("=")
    if not found or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN")
    return name, Path(run)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="results are kept and continued here")
    parser.add_argument("--methods", help=f"by default all but {', '.join(BY_NAME)}, the models last")
    parser.add_argument("--model", type=_model, action="append", default=[], metavar="NAME=RUN")
    parser.add_argument("--pairs", type=_numbers, default=_numbers(PAIRS), help=f"0-19 or 0,3,5; {PAIRS} by default")
    parser.add_argument("--split", choices=("validation", "training"), default="validation")
    parser.add_argument("--peer-python", type=Path, help="interpreter of the environment with the other tools")
    parser.add_argument("--again", default="", metavar="NAMES", help="methods whose kept results are forgotten")
    parser.add_argument("--page", type=Path, help="writes the page here too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of our methods; the other tools have one")
    return parser.parse_args()


def main() -> None:
    """The command."""
    options = _arguments()
    torch.set_num_threads(options.threads)
    models = dict(options.model)
    peers = [name for name in PEERS if name not in BY_NAME]
    names = options.methods.split(",") if options.methods else [CENTRED, *peers, *OURS, *models]
    ours = {name: find_method(name, models, options.seed) for name in names if name not in PEERS}
    pairs = case_pairs(cases_of(options.data, options.split), options.pairs)
    read = lru_cache(maxsize=128)(partial(read_subject, options.data))
    kept = options.out / options.split
    kept.mkdir(parents=True, exist_ok=True)
    for name in filter(None, options.again.split(",")):
        save(kept, name, MethodOutcomes())
    for name in names:
        if name in PEERS:
            measure_peer(name, options.peer_python, pairs, read, kept)
        else:
            measure(name, partial(_by_us, ours[name]), pairs, read, kept)
    done = {name: load(kept, name) for name in names}
    text = page(done, pairs, options.split, REFERENCE, SETTINGS)
    print(text)
    write_text(options.out / f"{options.split}.csv", pair_rows(done, pairs))
    for path in filter(None, (options.out / f"{options.split}.md", options.page)):
        write_text(path, text)


if __name__ == "__main__":
    main()

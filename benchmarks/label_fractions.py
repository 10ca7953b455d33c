"""What pretraining without labels brings where labels are few: Dice after the same short training, with and without.

    python benchmarks/label_fractions.py DATASET --out DIR [--methods all] [--cases 5,10,20,50] [--draws 3]
        [--configuration 3d_fullres] [--fold 0] [--steps 100] [--pretraining-budget 4m] [--plan-budget 20m]
        [--page docs/NAME.md]

The validation cases of a fold are held out of everything. Each method pretrains on all other images; then a few
labelled cases, drawn from the fold's training cases, train the same network for the same number of steps, from its
weights and from fresh ones (`scratch`). METHOD:sawtooth and the like name another way of fine-tuning, METHOD@1h another
length of the pretraining, METHOD+10 other seeds of the training on labels (scratch+10 against scratch is what chance
alone does). Everything is kept under `--out`: the command goes on where it was stopped, and more methods, cases or
other numbers of steps may be asked for later. The page has tables with paired differences of all there is, and where
there are several numbers of cases or steps a plot is written beside it; both also lie in `--out`.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch; on few cores two commands side by side do more

from autoseg import plugins
from autoseg.records import write_text
from benchmarks.pretraining.draws import COUNTS, DRAWS, Draw
from benchmarks.pretraining.experiment import SCRATCH, Arm, Experiment, StageFailed
from benchmarks.pretraining.outcomes import effects, pretraining, scores
from benchmarks.pretraining.page import Row, csv_rows, page, panels, plot


def run(experiment: Experiment, arms: list[Arm], draws: list[Draw], wanted: dict[int, Draw]) -> dict[Arm, str]:
    """Trains what is not trained yet; returns why arms failed.

    Arms are pretrained first, then all are trained on the labels of the draws asked for.
    """
    failures: dict[Arm, str] = {}
    experiment.plan(draws)
    for arm in arms:
        try:
            if arm.method != SCRATCH:
                experiment.pretrain(arm)
            experiment.train(arm, wanted)
        except StageFailed as failure:
            failures[arm] = str(failure)
            print(f"{arm.name}: {failure}", flush=True)
    return failures


def report(experiment: Experiment, arms: list[Arm], draws: list[Draw], failures: dict[Arm, str], where: Path) -> str:
    """Writes the page, the plot and every case's Dice; returns the page."""
    found = {(arm, steps): scores(experiment, arm, draws, steps) for steps in experiment.lengths for arm in arms}
    rows = []
    for arm in arms:
        same = Arm(SCRATCH, other_seeds=arm.other_seeds)
        fresh = same if same in arms and same != arm else Arm(SCRATCH)
        compared = [effects(found[arm, n], found[fresh, n], n) for n in experiment.lengths]
        known = pretraining(experiment, arm)
        rows.append(Row(arm, tuple(chain.from_iterable(compared)), known, failures.get(arm, "")))
    where.parent.mkdir(parents=True, exist_ok=True)
    picture = None
    if shown := panels(rows, experiment.steps):
        picture = where.with_suffix(".svg").name
        plot(shown, str(where.with_suffix(".svg")))
    text = page(experiment, rows, len(draws[0].split.validation), picture)
    write_text(where, text)
    write_text(experiment.out / "cases.csv", csv_rows(found))
    return text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="everything is kept and continued here")
    parser.add_argument("--methods", default="all", help="METHOD[@TIME][+SEEDS][:FINE-TUNING],... or all, and scratch")
    parser.add_argument("--cases", default=",".join(map(str, COUNTS)), help=f"some of {COUNTS}")
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"of each number of cases, at most {DRAWS}")
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100, help="of each training on labels")
    parser.add_argument("--pretraining-budget", default="4m")
    parser.add_argument("--plan-budget", default="20m", help="what the network is planned for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-report", action="store_true", help="runs nothing; tables of what is there")
    parser.add_argument("--page", type=Path, help="writes the page and the plot here too")
    return parser.parse_args()


def main() -> None:
    """The command."""
    options = _arguments()
    asked = [plugins.names("pretraining") if name == "all" else [name] for name in options.methods.split(",")]
    arms = list(dict.fromkeys((Arm(SCRATCH), *map(Arm.of, chain.from_iterable(asked)))))
    for arm in arms:
        if arm.method != SCRATCH:
            plugins.resolve("pretraining", arm.method)
    experiment = Experiment(
        options.dataset, options.out, options.fold, options.configuration, options.plan_budget,
        options.pretraining_budget, options.steps, options.seed,
    )  # fmt: skip
    draws = experiment.draws()
    counts = {int(count) for count in options.cases.split(",")}
    wanted = {i: draw for i, draw in enumerate(draws) if draw.cases in counts and draw.number < options.draws}
    if not wanted:
        raise SystemExit(f"no draws of {options.cases} cases: choose some of {sorted({draw.cases for draw in draws})}")
    failures = {} if options.only_report else run(experiment, arms, draws, wanted)
    places = filter(None, (options.out / "label_fractions.md", options.page))
    texts = [report(experiment, arms, draws, failures, place) for place in places]
    print(texts[0])


if __name__ == "__main__":
    main()

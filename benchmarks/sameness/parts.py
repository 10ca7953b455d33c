"""What is done with each version of the project, part by part.

Nothing depends on a time: trainings end by steps and their rounds have a given length, plans are those of the default
planner, which measures nothing, and everything is computed on the CPU by one thread per process.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.sameness.steps import Command, Copy, Narrow, Step

CPU = "--device cpu"
LENGTH = "--steps 60 --set training.round_steps=20 --seed 0"
SHORT = "--steps 20 --set training.round_steps=10 --seed 0"


@dataclass(frozen=True)
class Part:
    """Some steps whose results are compared.

    Attributes:
        name: for the table, and of the folder with the results.
        steps: done in this order; `{here}` in them is the folder of this part, `{mine}` that of all parts of the
            same version, `{old}` that of all parts of the old one; `{volumes}`, `{pictures}` and `{plugin}` are given.
        needs: parts whose results of the same version it reads.
        needs_old: parts whose results of the old version it reads.
    """

    name: str
    steps: tuple[Step, ...]
    needs: tuple[str, ...] = ()
    needs_old: tuple[str, ...] = ()


def _planned(data: str, *options: str, batch_size: int = 2, cascade: bool = False) -> tuple[Step, ...]:
    """A run at `{here}/run`, planned for small networks."""
    more = " ".join(options)
    return (
        Command(f"fingerprint {data} --out {{here}}/run --workers 1 {more}"),
        Command(f"plan {{here}}/run --planner default {CPU} {'--cascade' if cascade else ''}"),
        Narrow("{here}/run/plan.json", batch_size),
    )


def _trained(data: str, configurations: str, folds: str, workers: int = 0) -> Command:
    """Everything that is left of the run at `{here}/run`."""
    chosen = f"--configurations {configurations} --folds {folds}"
    return Command(f"plan-and-train {data} --out {{here}}/run {chosen} {LENGTH} {CPU} --workers {workers} --resume")


def _pretrained(method: str) -> Part:
    target = "--for {mine}/segmentation/run --hold-out {mine}/segmentation/run/splits.json:0"
    line = f"pretrain {{volumes}} --out {{here}}/run --method {method} {target} {SHORT} {CPU} --workers 0"
    return Part(method, (Command(line),), needs=("segmentation",))


def _pair(kind: str, ending: str) -> str:
    images = [f"{{{kind}}}/imagesTr/case_{case}_0000{ending}" for case in (0, 1)]
    sides = enumerate(("fixed", "moving"))
    labels = [f"--{side}-labels {{{kind}}}/labelsTr/case_{case}{ending}" for case, side in sides]
    return " ".join([*images, *labels, "--seed 0", CPU])


PAIR, PICTURES = _pair("volumes", ".nii.gz"), _pair("pictures", ".png")
BSPLINE = "--parameterisation b-spline --regularizer bending-energy=0.1 --similarity mind --iterations 20"

PARTS = (
    Part(
        "segmentation",
        (*_planned("{volumes}"), _trained("{volumes}", "2d,3d_fullres", "0,1", workers=1)),
    ),
    Part(
        "pictures",
        (
            *_planned("{pictures}", batch_size=4),
            _trained("{pictures}", "2d", "0"),
            Command(f"predict {{here}}/run {{pictures}}/imagesTs --out {{here}}/predicted {CPU}"),
        ),
    ),
    Part(
        "cascade",
        (
            *_planned("{volumes}", "--set splits.folds=2", cascade=True),
            _trained("{volumes}", "3d_lowres,3d_cascade_fullres", "0"),
            Command(
                f"predict {{here}}/run {{volumes}}/imagesTs --out {{here}}/predicted "
                f"--configuration 3d_cascade_fullres {CPU}"
            ),
        ),
    ),
    Part(
        "ranks",
        (
            *_planned("{volumes}", batch_size=3),
            Command("preprocess {here}/run --configurations 3d_fullres --workers 1"),
            Command(
                f"train {{here}}/run --configuration 3d_fullres --fold 0 {LENGTH} {CPU} --workers 0",
                ranks=2,
            ),
        ),
    ),
    Part(
        "registration",
        (
            Command(
                f"plan-and-train {{volumes}} --out {{here}}/run --trainer registration --folds 0 {SHORT} {CPU} "
                "--workers 0 --set training.options.features=[8,8] --set training.options.levels=2"
            ),
            Command(f"register {PAIR} --out {{here}}/registered --model {{here}}/run"),
        ),
    ),
    _pretrained("rotation"),
    _pretrained("byol"),
    Part(
        "fine-tuning",
        (
            Command(
                f"plan-and-train {{volumes}} --out {{here}}/run --pretrained {{mine}}/byol/run --folds 0 {SHORT} {CPU} "
                "--workers 0 --set training.fine_tuning=sawtooth"
            ),
            Command(
                f"probe {{volumes}} --out {{here}}/probe --pretrained {{mine}}/byol/run --fold 0 {SHORT} {CPU} "
                "--workers 0"
            ),
        ),
        needs=("byol",),
    ),
    Part(
        "register",
        (
            Command(f"register {PAIR} --out {{here}}/multi-stage"),
            Command(f"register {PAIR} --out {{here}}/b-spline {BSPLINE}"),
            Command(f"register {PAIR} --out {{here}}/drmime --method drmime"),
            Command(f"register {PICTURES} --out {{here}}/pictures"),
        ),
    ),
    Part(
        "predict",
        (
            Command(
                f"predict {{mine}}/segmentation/run {{volumes}}/imagesTs --out {{here}}/best "
                f"--save-probabilities --uncertainty {CPU}"
            ),
            Command(
                f"predict {{mine}}/segmentation/run {{volumes}}/imagesTs --out {{here}}/single "
                f"--configuration 3d_fullres --folds 1 --no-mirroring {CPU}"
            ),
            Command("export {mine}/segmentation/run --format zip --out {here}/model.zip"),
            Command(f"predict {{here}}/model.zip {{volumes}}/imagesTs --out {{here}}/from_zip {CPU}"),
        ),
        needs=("segmentation",),
    ),
    Part(
        "evaluate",
        (
            Command(
                "evaluate {mine}/predict/from_zip {volumes}/labelsTs --out {here}/scores.json "
                "--spec {volumes}/dataset.json --workers 1"
            ),
        ),
        needs=("predict",),
    ),
    Part(
        "compare",
        (
            Command(
                "--plugin {plugin} compare {volumes} --out {here}/compared "
                "--methods random-forest,single-atlas,short-unet --run {mine}/segmentation/run "
                f"--seed 0 --workers 1 {CPU}"
            ),
        ),
        needs=("segmentation",),
    ),
    Part(
        "stopped",
        (
            *_planned("{volumes}"),
            Command("preprocess {here}/run --configurations 3d_fullres --workers 1"),
            # 0.1 says that there is nothing to validate yet, as an error
            Command(
                f"train {{here}}/run --configuration 3d_fullres --fold 0 {LENGTH} {CPU} --workers 0 "
                "--set training.stop_after=30",
                exit_codes=(0, 2),
            ),
        ),
    ),
    Part(
        "reading",
        (
            Copy("{old}/segmentation/run", "{here}/run"),
            Command(f"predict {{here}}/run {{volumes}}/imagesTs --out {{here}}/from_run {CPU}"),
            Command(f"predict {{old}}/predict/model.zip {{volumes}}/imagesTs --out {{here}}/from_zip {CPU}"),
            Command(
                "evaluate {old}/predict/best {volumes}/labelsTs --out {here}/scores.json "
                "--spec {volumes}/dataset.json --workers 1"
            ),
            Command("report {here}/run"),
            _trained("{volumes}", "2d,3d_fullres", "0,1"),
            Command("choose {here}/run --device cpu --workers 1"),
            Copy("{old}/stopped/run", "{here}/stopped"),
            Command(
                f"train {{here}}/stopped --configuration 3d_fullres --fold 0 {LENGTH} {CPU} --workers 0 --resume",
            ),
            Command(f"register {PAIR} --out {{here}}/registered --model {{old}}/registration/run"),
            Command(
                f"plan-and-train {{volumes}} --out {{here}}/tuned --pretrained {{old}}/rotation/run --folds 0 {SHORT} "
                f"{CPU} --workers 0"
            ),
        ),
        needs_old=("segmentation", "predict", "stopped", "registration", "rotation"),
    ),
)
"""In an order in which what is needed comes first."""


def chosen_parts(names: str | None) -> tuple[Part, ...]:
    """The parts with these names, separated by commas, in their order; None takes all.

    Raises:
        ValueError: there is no part of a name.
    """
    if names is None:
        return PARTS
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    known = {part.name for part in PARTS}
    if not wanted or wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "nothing"
        raise ValueError(f"there is no part {unknown}; expected some of {', '.join(part.name for part in PARTS)}")
    return tuple(part for part in PARTS if part.name in wanted)


def needed_parts(parts: tuple[Part, ...], *, old: bool) -> tuple[Part, ...]:
    """The parts that a version goes through for these: they themselves and what they read, in order.

    Args:
        old: whether it is the old version, whose results the new one may read as well.
    """
    names = {part.name for part in parts}
    for part in reversed(PARTS):
        if part.name in names:
            names.update(part.needs, part.needs_old if old else ())
    return tuple(part for part in PARTS if part.name in names)

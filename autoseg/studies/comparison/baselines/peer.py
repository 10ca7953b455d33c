"""nnU-Net v2, installed in a Python environment of its own, as a baseline."""

from __future__ import annotations

import json
import shutil
import subprocess
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import ending_of, read_case, read_labels, write_image, write_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import ConfigurationError, ImageError, TrainingError
from autoseg.log import logger
from autoseg.records import read_mapping, write_json
from autoseg.studies.comparison.baselines import peer_driver
from autoseg.studies.comparison.baselines.protocol import BaselineContext, Segmentation
from autoseg.studies.comparison.baselines.time_box import allowed_seconds

SECONDS = 1800.0
"""From the fingerprint to the last step, unless `options["seconds"]` says otherwise."""

_ENDING = ".nii.gz"
_TAIL = 2000  # characters of a log that an error shows
_VERSION = "from importlib.metadata import version; print(version('nnunetv2'))"


@dataclass(frozen=True)
class FittedPeer:
    """A trained nnU-Net that waits for images in a process of its own, which ends with this object."""

    server: _Server
    folder: Path
    dataset: Dataset

    def predict(self, case: Case) -> Segmentation:
        """nnU-Net's prediction with its default settings (mirrored copies, tiles that overlap by half).

        Raises:
            ImageError: the images cannot be read, or nnU-Net fails on them.
        """
        images = write_channels(case, self.dataset, self.folder / "input")
        out = self.folder / "output" / case.id
        out.parent.mkdir(exist_ok=True)
        self.server.ask(images, out, case)
        labels = read_labels(out.with_name(f"{case.id}{_ENDING}")).array[0]
        return Segmentation(labels.astype(np.int16))


def nnunetv2(context: BaselineContext) -> FittedPeer:
    """nnU-Net v2 itself, trained for a given time in the Python environment where it is installed.

    Isensee et al., 2021, doi:10.1038/s41592-020-01008-z. It plans, preprocesses and trains on the same training cases
    with its own defaults (3d_fullres, for images of one slice 2d); its training has no time limit, so that here the
    number of epochs follows the clock, and epochs are shorter than 250 steps where there would be fewer than twenty.

    Args:
        context: `options["peer_python"]` is the interpreter of that environment; there may be "seconds" (from the
            fingerprint to the last step), "device" and "configuration" (a name in nnU-Net's plan).

    Raises:
        ConfigurationError: no interpreter is given, or nnU-Net is not installed there.
        TrainingError: nnU-Net ended with an error; its log is named.
        ImageError: a training case cannot be read or written.
    """
    python = _peer_python(context)
    seconds = allowed_seconds(context.options, SECONDS)
    # a copy in a folder of its own: beside this file Python would take its neighbours for installed packages
    driver = context.folder / "driver" / "drive_nnunet.py"
    driver.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(peer_driver.__file__, driver)
    write_raw(context.dataset, context.training, context.folder / "raw")
    command = _command(python, driver, context)
    training: list[object] = ["train", context.folder.resolve(), "--seconds", seconds, "--processes", context.workers]
    if "configuration" in context.options:
        training += ["--configuration", context.options["configuration"]]
    log = context.folder / "training.log"
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            [*command, *map(str, training)], stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        ).returncode
    report = context.folder / peer_driver.REPORT
    if code or not report.is_file():
        raise TrainingError(f"nnU-Net ended with exit code {code}", where=log, got=_tail(log))
    done = read_mapping(report)
    logger.info("nnU-Net: %s, %s steps in %s epochs", done["configuration"], done["steps"], done["epochs"])
    server = _Server([*command, "predict", str(done["model"])], context.folder / "prediction.log")
    return FittedPeer(server, context.folder, context.dataset)


def write_raw(dataset: Dataset, cases: Sequence[Case], raw: Path) -> Path:
    """Writes labelled cases in nnU-Net v2's raw layout, as NIfTI; files that fit as they are become links.

    Args:
        dataset: for channels and labels; with labels in training values, which nnU-Net wants consecutive.
        cases: with labels.
        raw: nnU-Net's folder of raw data sets; what an earlier call wrote there is replaced.

    Returns:
        The new folder: imagesTr, labelsTr and dataset.json.

    Raises:
        ImageError: a case has no label, or a file cannot be read or written.
    """
    folder, scheme = raw / peer_driver.NAME, dataset.labels
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "labelsTr").mkdir(parents=True)
    for case in cases:
        write_channels(case, dataset, folder / "imagesTr")
        labels = read_case_labels(case, read_case(case, len(dataset.channels)), scheme)
        target = folder / "labelsTr" / f"{case.id}{_ENDING}"
        same = scheme.values == tuple(range(len(scheme.values))) and not labels.remarks
        if case.label is not None and same and ending_of(case.label) == _ENDING:
            target.symlink_to(case.label.resolve())
        else:
            write_labels(target, scheme.encode(labels.array[0]), labels.geometry)
    description = {
        "channel_names": {str(i): channel for i, channel in enumerate(dataset.channels)},
        "labels": _label_table(scheme),
        "numTraining": len(cases),
        "file_ending": _ENDING,
    }
    if scheme.regions:
        description["regions_class_order"] = [scheme.values.index(value) for value in scheme.region_order]
    write_json(folder / "dataset.json", description)
    return folder


def write_channels(case: Case, dataset: Dataset, folder: Path) -> list[Path]:
    """Writes a case's image as nnU-Net reads it: a NIfTI file per channel; such files become links.

    Raises:
        ImageError: a file cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{case.id}_{i:04d}{_ENDING}" for i in range(len(dataset.channels))]
    for target in targets:
        target.unlink(missing_ok=True)
    if len(case.images) == len(targets) and all(ending_of(path) == _ENDING for path in case.images):
        for path, target in zip(case.images, targets, strict=True):
            target.symlink_to(path.resolve())
        return targets
    image = read_case(case, len(targets))
    for channel, target in zip(image.array, targets, strict=True):
        write_image(target, image.with_array(channel[None].astype(np.float32)))
    return targets


class _Server:
    """nnU-Net with a loaded model in a process: one line of JSON asks, one answers."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True
            )
        self._end = weakref.finalize(self, _end, self._process)

    def ask(self, images: Sequence[Path], out: Path, case: Case) -> None:
        """Has a case predicted into `out` with nnU-Net's ending."""
        question = json.dumps({"images": [str(path.absolute()) for path in images], "out": str(out.absolute())})
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise ImageError(
                f"nnU-Net ended while it was to predict; its log is {self._log}", where=case.id, got=_tail(self._log)
            )
        problem = json.loads(answer)["error"]
        if problem is not None:
            raise ImageError(f"nnU-Net cannot predict the case; its log is {self._log}", where=case.id, got=problem)


def _end(process: subprocess.Popen[str]) -> None:
    """Without questions the process ends by itself."""
    process.communicate()


def _peer_python(context: BaselineContext) -> Path:
    given = context.options.get("peer_python")
    remedy = "make an environment with `pip install nnunetv2` and name its Python with --peer-python"
    if given is None:
        raise ConfigurationError("needs a Python in which nnU-Net v2 is installed", where="nnunetv2", remedy=remedy)
    try:
        asked = subprocess.run([str(given), "-c", _VERSION], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ConfigurationError(
            "the Python for nnU-Net does not run", where="nnunetv2", got=f"{given}: {error.strerror}", remedy=remedy
        ) from None
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        raise ConfigurationError(
            "nnU-Net v2 is not installed in that Python", where="nnunetv2", got=f"{given}: {last}", remedy=remedy
        )
    logger.info("nnU-Net %s in %s", asked.stdout.strip(), given)
    return Path(given)


def _command(python: Path, driver: Path, context: BaselineContext) -> list[str]:
    """The driver with nnU-Net's folders, which it takes from its environment alone."""
    root = context.folder.resolve()
    folders = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
    settings = {**folders, "nnUNet_n_proc_DA": str(context.workers), "nnUNet_compile": "false"}
    variables = [f"{name}={value}" for name, value in settings.items()]
    device = ["--device", str(context.options.get("device", "auto"))]
    return ["env", *variables, str(python.absolute()), str(driver), *device]


def _label_table(scheme: LabelScheme) -> dict[str, int | list[int]]:
    table: dict[str, int | list[int]] = {"background": 0}
    for name, values in scheme.training_foreground.items():
        table[name] = list(values) if scheme.regions else values[0]
    if scheme.training_ignore is not None:
        table["ignore"] = scheme.training_ignore
    return table


def _tail(log: Path) -> str:
    return log.read_text(errors="replace", encoding="utf-8")[-_TAIL:].strip() or "an empty log"

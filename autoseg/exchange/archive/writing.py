"""Writes a run's model as one zip file (see `autoseg.exchange.archive.reading`)."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from autoseg.exchange.archive.content import slim_checkpoint, slim_postprocessing, slim_summary
from autoseg.exchange.archive.reading import MANIFEST, ArchivedFile, ArchiveError, ArchiveManifest
from autoseg.inference.choice import Choice
from autoseg.inference.selection import chosen_configurations, shared_folds
from autoseg.log import counted, logger
from autoseg.plan.record import Plan
from autoseg.training.checkpoint import load_checkpoint
from autoseg.version import VERSION
from autoseg.workspace import Run

README = "README.txt"

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def write_archive(
    run: Run, out: Path, *, configuration: str | None = None, folds: Sequence[str] | None = None
) -> ArchiveManifest:
    """Writes a run's model as a zip file that `predict` and `Predictor.load` take in place of the run folder.

    Left out is what training alone needs, and whatever names a case or a path: the fingerprint, the data set's list,
    the splits, the validation, the optimiser. The same run gives the same bytes. One fold's weights are in memory at
    a time. A file that is there is replaced once the new one is whole.

    Args:
        run: a run with trained folds.
        out: the zip file; its folder is made.
        configuration: a name, or names joined by "+" for their ensemble; None takes the best of the run. The previous
            stage of a cascade comes along.
        folds: names of folds; None takes all numbered ones that are trained, else the model of all data ("all").

    Raises:
        ConfigurationError: a configuration that the plan lacks.
        WorkspaceError: no such trained fold.
        ArchiveError: the file cannot be written.
    """
    plan = Plan.load(run.require(run.plan, "autoseg plan-and-train"))
    chosen = chosen_configurations(run, plan, configuration)
    networks = shared_folds(run, plan, chosen, folds)
    summary = slim_summary(run, chosen, networks)
    decision = slim_postprocessing(run, chosen)
    texts = {README: _readme(plan, summary.best), "summary.json": _json(summary.model_dump(mode="json"))}
    texts["plan.json"] = plan.with_(warnings=()).model_dump_json(indent=1)  # warnings speak of the maker's data
    if decision is not None:
        texts["postprocessing.json"] = _json(decision)
    writers: dict[str, Callable[[Any], object]] = {name: partial(_write_text, text) for name, text in texts.items()}
    for name, keys in networks.items():
        for key in keys:
            final = run.fold(name, key).final
            writers[final.relative_to(run.root).as_posix()] = partial(_write_weights, final)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as beside:
            temporary = Path(beside) / out.name
            with zipfile.ZipFile(temporary, "w") as archive:
                files = {name: _add(archive, name, writers[name]) for name in sorted(writers)}
                manifest = ArchiveManifest(
                    autoseg=VERSION, dataset=plan.dataset, configurations=chosen, folds=networks, files=files
                )
                _add(archive, MANIFEST, partial(_write_text, _json(manifest.model_dump(mode="json"))))
            temporary.replace(out)
    except OSError as error:
        raise ArchiveError(
            f"the model cannot be written ({error.strerror})", where=out, remedy="check the path, rights and free space"
        ) from error
    logger.debug("model: %s, %s, %.1f MB", out, counted(len(files) + 1, "file"), out.stat().st_size / 1e6)
    return manifest


def _add(archive: zipfile.ZipFile, name: str, write: Callable[[Any], object]) -> ArchivedFile:
    """Adds a file whose bytes `write` puts into a stream, and says what was written."""
    info = zipfile.ZipInfo(name, _FIXED_TIME)
    info.create_system, info.external_attr = 3, 0o644 << 16
    # Deflating float weights saves a twelfth of the size and takes longer than all the rest.
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".pt") else zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as stream:
        hashed = _Hashed(stream)
        write(hashed)
    return ArchivedFile(size=hashed.size, sha256=hashed.digest.hexdigest())


class _Hashed:
    """A stream that counts and hashes what goes through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.size, self.digest = stream, 0, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        self.size += len(content)
        return self.stream.write(content)

    def flush(self) -> None:
        self.stream.flush()


def _write_text(text: str, stream: _Hashed) -> None:
    stream.write(text.encode("utf-8"))


def _write_weights(checkpoint: Path, stream: _Hashed) -> None:
    torch.save(slim_checkpoint(load_checkpoint(checkpoint)), stream)  # type: ignore[arg-type]


def _json(values: Any) -> str:
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _readme(plan: Plan, best: Choice) -> str:
    """Five lines for whoever opens the zip."""
    labels = ", ".join(plan.labels.foreground)
    dice = best.foreground_mean_dice_postprocessed or best.foreground_mean_dice
    quality = "no scores are known" if dice is None else f"mean foreground Dice {dice:.4f} on its validation cases"
    return (
        f"A segmentation model made with autoseg {VERSION} from the data set {plan.dataset}; {quality}.\n"
        f"It takes {plan.dimension}D images with the channels {', '.join(plan.channels)} and finds {labels}.\n"
        "Install: pip install autoseg-framework. Do not unpack this file; manifest.json has the hashes of all in it.\n"
        "Use it:  autoseg predict MODEL.zip IMAGES --out DIR\n"
        'Python:  import autoseg; labels = autoseg.Predictor.load("MODEL.zip").predict("image.nii.gz")\n'
    )

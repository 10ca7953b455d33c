"""The registered pairs of a validation: a row per pair, what deformations do to space, and one pair as a picture."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from autoseg.data.files import read_image
from autoseg.errors import AutosegError
from autoseg.records import read_mapping
from autoseg.report.gather import CaseScores, FoldRecords, RunRecords
from autoseg.report.page import render_template
from autoseg.report.section import Section
from autoseg.workspace import Fold

ROW = "deformation"
"""Row of a case's scores that is about the transform."""

COLUMNS = {
    "dice_before": "Dice before",
    "dice": "Dice after",
    "correlation_before": "correlation before",
    "correlation": "correlation after",
    "folded_percent": "folded voxels [%]",
    "log_jacobian_std": "SD of log-Jacobian",
    "displacement_max": "largest displacement [mm]",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class PairRow:
    """One pair: a value per column of `COLUMNS`, None where there is none."""

    fixed: str
    moving: str
    fold: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class PairsSection:
    """The section of the page.

    Attributes:
        headings: of the columns that have values.
        means: over the pairs, a value per column.
        picture: of one pair as a data URI; None if its images are gone.
        caption: which pair that is.
    """

    headings: tuple[str, ...]
    rows: tuple[PairRow, ...]
    means: tuple[float | None, ...]
    picture: Markup | None
    caption: str


def pairs_section(records: RunRecords) -> Section | None:
    """The section of a run's page."""
    content = registered_pairs(records)
    if content is None:
        return None
    html = render_template("autoseg.tasks.registration.report", "pairs.html.jinja", pairs=content)
    return Section("pairs", "Pairs", html)


def registered_pairs(records: RunRecords) -> PairsSection | None:
    """The section of a run; None where nothing was registered."""
    rows: list[PairRow] = []
    examples: list[tuple[Fold, str]] = []
    for name in records.chosen:
        for fold, content in records.folds.get(name, {}).items():
            moving = _moving(content.folder)
            rows += _rows(fold, content, moving)
            examples += [(content.folder, f"{source} on {target}") for target, source in list(moving.items())[:1]]
    if not rows:
        return None
    columns = list(zip(*(row.values for row in rows), strict=True))
    kept = [index for index, column in enumerate(columns) if any(value is not None for value in column)]
    headings = tuple(COLUMNS.values())
    picture = next((drawn for folder, _ in examples if (drawn := _picture(folder)) is not None), None)
    return PairsSection(
        headings=tuple(headings[index] for index in kept),
        rows=tuple(replace(row, values=tuple(row.values[index] for index in kept)) for row in rows),
        means=tuple(_mean(columns[index]) for index in kept),
        picture=picture,
        caption=examples[0][1] if examples else "",
    )


def _moving(folder: Fold) -> dict[str, str]:
    try:
        moving: dict[str, str] = read_mapping(folder.pairs).get("moving", {}) if folder.pairs.exists() else {}
    except AutosegError:
        return {}
    return moving


def _rows(fold: str, content: FoldRecords, moving: dict[str, str]) -> list[PairRow]:
    labels = {case.id: case for case in content.cases or ()}
    rows = []
    for case in content.beside:
        deformation = case.scores.get(ROW)
        if deformation is None:
            continue
        means = {key: _label_mean(labels.get(case.id), key) for key in ("dice_before", "dice")}
        values = tuple((means if key in means else deformation).get(key) for key in COLUMNS)
        rows.append(PairRow(case.id, moving.get(case.id, "?"), fold, values))
    return rows


def _label_mean(case: CaseScores | None, key: str) -> float | None:
    return None if case is None else _mean([row.get(key) for row in case.scores.values()])


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None


def _picture(folder: Fold) -> Markup | None:
    """One pair before and after; PyTorch is imported only for runs that have one."""
    if not folder.example.is_dir():
        return None
    from autoseg.tasks.registration.files import read_displacement
    from autoseg.tasks.registration.report.figures import RegistrationView, registration_picture
    from autoseg.tasks.registration.transforms import jacobian_determinant

    try:
        fixed, before, after = (read_image(folder.example / f"{name}.nii.gz") for name in ("fixed", "before", "after"))
        field = read_displacement(folder.example / "displacement.nii.gz")
    except AutosegError:
        return None
    low, high = np.percentile(fixed.array, (0.5, 99.5))
    shape, grid = fixed.shape, field.grid
    steps = np.zeros((3, *shape), np.float32)
    moved = grid.steps_to_index(field.field.movedim(0, -1)).movedim(-1, 0).numpy()
    steps[3 - grid.dimension :] = moved.reshape(-1, *shape)
    images = [np.clip((image.array[0] - low) / max(high - low, 1e-6), 0, 1) for image in (fixed, before, after)]
    content = registration_picture(
        RegistrationView(
            fixed=images[0],
            before=images[1],
            after=images[2],
            steps=steps,
            determinants=jacobian_determinant(field.field, grid).numpy().reshape(shape),
            geometry=fixed.geometry,
        )
    )
    return Markup("data:image/png;base64,") + base64.b64encode(content).decode("ascii")

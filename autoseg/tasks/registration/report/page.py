"""The page of a registration: one HTML file without any reference to the outside."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from autoseg.log import duration
from autoseg.records import write_text
from autoseg.report.page import page_asset, page_environment
from autoseg.tasks.registration.quality import DistanceStatistics
from autoseg.tasks.registration.record import RegistrationRecord
from autoseg.version import VERSION


def write_registration_report(record: RegistrationRecord, picture: bytes, path: Path) -> None:
    """Writes the page, whole or not at all; it needs no network and no other file.

    Args:
        picture: PNG (`registration_figures.registration_picture`).
    """
    write_text(path, render_registration(record, picture))


def render_registration(record: RegistrationRecord, picture: bytes) -> str:
    """The page as HTML."""
    page = page_environment("autoseg.tasks.registration.report").get_template("registration.html.jinja")
    return page.render(
        record=record,
        title=f"{Path(record.moving).name} onto {Path(record.fixed).name}",
        headline=headline(record),
        landmark_rows=landmark_rows(record),
        deformation_rows=deformation_rows(record),
        seconds=duration(record.quality.seconds or 0),
        picture=Markup("data:image/png;base64,") + base64.b64encode(picture).decode("ascii"),
        command=shlex.join(record.command),
        version=VERSION,
        style=page_asset("report.css"),
        script=page_asset("report.js"),
    )


def headline(record: RegistrationRecord) -> str:
    """The result in one sentence, as far as there is evidence for it."""
    parts = []
    before, after = record.quality.dice
    if after is not None:
        parts.append(f"mean Dice {_three(before)} before, {_three(after)} after")
    marks = record.quality.landmarks
    if marks is not None:
        parts.append(
            f"median distance of {marks.count} landmarks {marks.before.median:.2f} mm before, "
            f"{marks.after.median:.2f} mm after"
        )
    if not parts:
        return "Registered; no labels or landmarks say how well."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def landmark_rows(record: RegistrationRecord) -> list[tuple[str, Sequence[str]]]:
    """Name and values (mean, median, 90th percentile, largest) of each row of the table of landmarks."""
    marks = record.quality.landmarks
    if marks is None:
        return []
    return [
        ("before [mm]", _distances(marks.before, 2)),
        ("after [mm]", _distances(marks.after, 2)),
        ("before, over the image's diagonal", _distances(marks.relative_before, 4)),
        ("after, over the image's diagonal", _distances(marks.relative_after, 4)),
    ]


def deformation_rows(record: RegistrationRecord) -> list[tuple[str, str]]:
    """What the transform does to space: (what, value)."""
    deformation = record.quality.deformation
    spread, learn2reg = deformation.log_jacobian_std, deformation.log_jacobian_std_learn2reg
    mean, largest = deformation.displacement_mean, deformation.displacement_max
    rows = [
        ("voxels with a Jacobian determinant of 0 or less (folded)", f"{deformation.nonpositive_percent:.3f} %"),
        ("standard deviation of the log-Jacobian", _three(spread)),
        ("the same as Learn2Reg computes it: of log(clip(determinant + 3))", _three(learn2reg)),
        ("smallest and largest determinant", f"{deformation.jacobian_min:.2f} and {deformation.jacobian_max:.2f}"),
        ("displacement, mean and largest", f"{mean:.2f} and {largest:.2f} mm"),
        ("smoothness: mean norm of the displacement's gradient", f"{deformation.smoothness:.3f}"),
        ("fixed voxels that the moving image reaches", f"{100 * record.quality.coverage:.1f} %"),
    ]
    back, farthest = deformation.inverse_consistency_mean, deformation.inverse_consistency_max
    if back is not None and farthest is not None:
        rows.append(("there and back again: mean and largest distance", f"{back:.3f} and {farthest:.2f} mm"))
    return rows


def _distances(distances: DistanceStatistics, digits: int) -> Sequence[str]:
    return [f"{value:.{digits}f}" for value in (distances.mean, distances.median, distances.p90, distances.max)]


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

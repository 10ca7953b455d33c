"""Pictures of the best, the median and the worst case: image, reference contour, prediction contour."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from skimage.measure import find_contours

from autoseg.data.case_labels import read_case_labels
from autoseg.data.dataset import Case, Dataset
from autoseg.data.files import read_case, read_labels
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError, ImageError, WorkspaceError
from autoseg.plan.record import Plan
from autoseg.report.gather import CaseScores, RunRecords
from autoseg.report.slices import SliceView, field_of_view, telling_slice, turn

REFERENCE, PREDICTION = "#4cc3ff", "#ff9d2e"
"""Contours, bright enough for dark and light images; blue and orange are told apart by colour-blind eyes."""

_LONGEST = 640
"""Pixels of the longer side of a picture."""
_COLOURS = ({"r", "g", "b"}, {"red", "green", "blue"})


@dataclass(frozen=True)
class Panel:
    """One slice as a PNG in a data URI, with its caption."""

    picture: Markup
    caption: str


@dataclass(frozen=True)
class Overlay:
    """One case: why it is shown ("best", "median", "worst"), its scores, its slices."""

    rank: str
    case: CaseScores
    foreground_dice: float
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Overlays:
    """Section 4 of the page.

    Attributes:
        notes: which pictures could not be made, and why.
        plane: whether cases are plane images, with one picture each.
        channel: which of several channels is shown; None where there is no choice.
    """

    model: str
    cases: tuple[Overlay, ...]
    notes: tuple[str, ...]
    plane: bool
    channel: str | None


def overlays(records: RunRecords) -> Overlays | None:
    """Draws three cases of the chosen model; None before any validation.

    Reads the images named in dataset.json. A file that is gone leaves its case out and adds a note.
    """
    model = records.chosen_model
    if model is None:
        return None
    drawn: list[Overlay] = []
    notes: list[str] = []
    channels = records.dataset.channels if records.dataset is not None else ()
    for rank, case, dice in ranked(records.models[model]):
        try:
            drawn.append(Overlay(rank, case, dice, _panels(records, model, case)))
        except AutosegError as error:
            notes.append(f"{case.id} ({rank}) is not shown: {error}")
    return Overlays(
        " + ".join(model),
        tuple(drawn),
        tuple(notes),
        plane=all(len(overlay.panels) == 1 for overlay in drawn),
        channel=channels[0] if len(channels) > 1 and not _is_colour(channels) else None,
    )


def ranked(cases: tuple[CaseScores, ...]) -> list[tuple[str, CaseScores, float]]:
    """Best, median and worst case by mean foreground Dice, fewer where there are fewer; ties by identifier."""
    scored = [(dice, case) for case in cases if (dice := case.foreground_dice) is not None]
    scored.sort(key=lambda item: (-item[0], item[1].id))
    if not scored:
        return []
    ranks = {0: "best", len(scored) // 2: "median", len(scored) - 1: "worst"}
    if len(scored) == 1:
        ranks = {0: "only"}
    elif len(scored) == 2:
        ranks = {0: "best", 1: "worst"}
    return [(rank, scored[index][1], scored[index][0]) for index, rank in sorted(ranks.items())]


def _panels(records: RunRecords, model: tuple[str, ...], scores: CaseScores) -> tuple[Panel, ...]:
    dataset = records.dataset
    if dataset is None:
        raise WorkspaceError("the run has no dataset.json")
    case = next((case for case in dataset.training if case.id == scores.id), None)
    if case is None or case.label is None:
        raise WorkspaceError("the case is not among the training cases of dataset.json")
    file = _prediction(records, dataset, model, scores)
    view = _view(case, file, dataset)
    ignored = None if dataset.labels.ignore is None else view.reference == dataset.labels.ignore
    window = _ct_window(records.plan, model[0])
    axes = (0,) if view.planes[0] == "plane" else (0, 1, 2)
    return tuple(_panel(view, axis, dataset, ignored, window) for axis in axes)


def _prediction(records: RunRecords, dataset: Dataset, model: tuple[str, ...], scores: CaseScores) -> Path:
    folder = records.validation_folder(model, scores)
    endings = dict.fromkeys([dataset.label_ending, dataset.file_ending])
    if records.plan is not None:
        endings = dict.fromkeys([records.plan.file_ending, *endings])
    for ending in endings:
        if (folder / f"{scores.id}{ending}").exists():
            return folder / f"{scores.id}{ending}"
    raise WorkspaceError("its prediction is gone", where=folder, expected=f"{scores.id}{next(iter(endings))}")


def _view(case: Case, prediction: Path, dataset: Dataset) -> SliceView:
    image = read_case(case, len(dataset.channels))
    reference, predicted = read_case_labels(case, image, dataset.labels), read_labels(prediction)
    if predicted.shape != image.shape:
        raise ImageError("image and segmentation have different shapes", got=predicted.shape, expected=image.shape)
    return turn(image.array, reference.array[0], predicted.array[0], image.geometry)


def _panel(
    view: SliceView,
    axis: int,
    dataset: Dataset,
    ignored: np.ndarray | None,
    window: tuple[float, float] | None,
) -> Panel:
    index, differing = telling_slice(view.reference, view.prediction, axis, ignored)
    rows, columns = field_of_view(view, axis)
    pixels = np.take(view.image, index, axis + 1)[:, rows, columns]
    reference = np.take(view.reference, index, axis)[rows, columns]
    prediction = np.take(view.prediction, index, axis)[rows, columns]
    row, column = (other for other in range(3) if other != axis)
    spacing = (view.spacing[row], view.spacing[column])
    picture = _draw(pixels, reference, prediction, spacing, dataset, window)
    unit = "pixel" if view.planes[axis] == "plane" else "voxel"
    words = f"1 {unit} differs" if differing == 1 else f"{differing:,} {unit}s differ"
    if view.planes[axis] == "plane":
        return Panel(picture, words)
    length = view.reference.shape[axis]
    own = length - 1 - index if view.flipped[axis] else index
    return Panel(picture, f"{view.planes[axis]}, slice {own + 1} of {length}, {words}")


def _draw(
    pixels: np.ndarray,
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing: tuple[float, float],
    dataset: Dataset,
    window: tuple[float, float] | None,
) -> Markup:
    """A slice with contours as a PNG whose pixels are square in mm."""
    height, width = reference.shape[0] * spacing[0], reference.shape[1] * spacing[1]
    scale = _LONGEST / max(height, width) / 100
    figure = Figure(figsize=(max(0.4, width * scale), max(0.4, height * scale)), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    colour = _is_colour(dataset.channels)
    shown = _stretch(np.moveaxis(pixels, 0, -1) if colour else pixels[0], window)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="antialiased")
    halo = [withStroke(linewidth=7.0, foreground="black", alpha=0.5)]
    _contours(axes, reference, dataset.labels, spacing, color=REFERENCE, linewidth=5.2, path_effects=halo)
    _contours(axes, prediction, dataset.labels, spacing, color=PREDICTION, linewidth=2.6)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100, facecolor="black")
    return Markup("data:image/png;base64,") + base64.b64encode(content.getvalue()).decode("ascii")


def _contours(axes: Axes, labels: np.ndarray, scheme: LabelScheme, spacing: tuple[float, float], **style: Any) -> None:
    """Outlines of all foreground classes, in mm from the picture's corner."""
    for values in scheme.foreground.values():
        mask = np.pad(np.isin(labels, values), 1)  # padded, so that contours close at the image's edge
        for outline in find_contours(mask.astype(float), 0.5):
            rows, columns = ((outline - 0.5) * spacing).T
            axes.plot(columns, rows, solid_joinstyle="round", **style)


def _stretch(values: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """Intensities to 0..1: 8-bit colours as they are, the rest by a window or its middle 99 percent."""
    if values.ndim == 3 and values.dtype == np.uint8:
        return values / 255.0
    values = np.nan_to_num(values.astype(np.float64))
    low, high = window if window is not None else np.percentile(values, (0.5, 99.5))
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def _ct_window(plan: Plan | None, configuration: str) -> tuple[float, float] | None:
    """For CT the foreground's range with half of it on both sides, so that surroundings keep contrast; else None."""
    if plan is None or configuration not in plan.configurations:
        return None
    if plan.configurations[configuration].normalization[0] != "ct":
        return None
    low, high = plan.intensities[0].percentile_00_5, plan.intensities[0].percentile_99_5
    return low - (high - low) / 2, high + (high - low) / 2


def _is_colour(channels: tuple[str, ...]) -> bool:
    return len(channels) == 3 and ({name.lower() for name in channels} in _COLOURS or set(channels) == {"rgb_to_0_1"})

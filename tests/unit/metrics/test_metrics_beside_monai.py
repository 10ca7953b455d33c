"""Every metric beside MONAI on random masks; what it counts, measures and gives for empty masks."""

from __future__ import annotations

import monai.metrics as monai
import numpy as np
import pytest
import torch
from monai.metrics.f_beta_score import compute_f_beta_score
from random_pairs import KINDS, LABELS, SHAPES, Drawn, draw, draw_labels

from autoseg.metrics.confusion import Counts
from autoseg.metrics.score import score_labels

pytestmark = [
    pytest.mark.filterwarnings("ignore:the (ground truth|prediction) of class:UserWarning"),
    pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning"),
]

TOLERANCES = (0.61, 1.37, 2.93)


def _channels(mask: np.ndarray) -> torch.Tensor:
    """One case with one channel."""
    return torch.from_numpy(mask.astype(np.float32))[None, None]


def _one_hot(labels: np.ndarray, values: range, ignore: int | None = None) -> torch.Tensor:
    """Background and `values`, a channel each; ignored voxels are zero in all of them."""
    channels = np.stack([labels == value for value in (0, *values)])
    if ignore is not None:
        channels &= labels != ignore
    return torch.from_numpy(channels.astype(np.float32))[None]


def _score(drawn: Drawn, values: range, tolerance: float = 1.0, ignore: int | None = None) -> dict[str, dict]:
    prediction, reference, spacing = drawn.prediction, drawn.reference, drawn.spacing
    if prediction.ndim == 2:
        prediction, reference, spacing = prediction[None], reference[None], (1.0, *spacing)
    names = {str(value): (value,) for value in values}
    dimension = drawn.prediction.ndim
    return score_labels(
        prediction, reference, names, spacing, dimension=dimension, tolerance_mm=tolerance, ignore=ignore
    )


def _counts(row: dict) -> Counts:
    return Counts(*(int(row[name]) for name in ("tp", "fp", "fn", "tn")))


def _overlap_values(prediction: torch.Tensor, reference: torch.Tensor) -> dict[str, list[float]]:
    """MONAI's value a channel for each of our metrics of overlap (NaN where it has none)."""
    matrix = monai.get_confusion_matrix(prediction, reference)
    volumes = (prediction + reference).flatten(2).sum(2)
    difference = monai.compute_absolute_volume_difference(prediction, reference, ignore_empty=False)
    values = {
        "f_beta": compute_f_beta_score(matrix, 2),
        "dice": monai.compute_dice(prediction, reference),
        "iou": monai.compute_iou(prediction, reference),
        "volume_similarity": 1 - difference / volumes,
        **{
            name: monai.compute_confusion_matrix_metric(name, matrix)
            for name in ("precision", "sensitivity", "specificity")
        },
    }
    return {name: value[0].tolist() for name, value in values.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimension", SHAPES)
def test_overlap_of_many_labels(dimension: str, seed: int) -> None:
    drawn = draw_labels(dimension, seed)
    prediction, reference = _one_hot(drawn.prediction, LABELS), _one_hot(drawn.reference, LABELS)
    matrix = monai.get_confusion_matrix(prediction, reference, include_background=False)[0]
    theirs = _overlap_values(prediction[:, 1:], reference[:, 1:])
    for channel, (label, row) in enumerate(_score(drawn, LABELS).items()):
        tp, fp, tn, fn = (int(value) for value in matrix[channel])
        assert _counts(row) == Counts(tp=tp, fp=fp, fn=fn, tn=tn)
        if label in "1234":
            for name, values in theirs.items():
                assert row[name] == pytest.approx(values[channel], rel=1e-6), name


def test_overlap_of_labels_that_an_image_lacks() -> None:
    """By default MONAI leaves out labels that the reference lacks, also where they are painted: here that is 0."""
    drawn = draw_labels("3D", 0)
    prediction, reference = (_one_hot(labels, LABELS)[:, 1:] for labels in (drawn.prediction, drawn.reference))
    theirs = _overlap_values(prediction, reference)
    rows = _score(drawn, LABELS)
    for label, unequal in ((5, {"dice", "iou"}), (6, set()), (7, {"specificity"})):  # invented, missed, in neither
        for name in theirs.keys() - unequal:
            ours = rows[str(label)][name]
            assert (np.nan if ours is None else ours) == pytest.approx(
                theirs[name][label - 1], rel=1e-6, nan_ok=True
            ), (label, name)

    assert np.isnan([theirs["dice"][4], theirs["iou"][4]]).all()
    assert rows["5"]["dice"] == monai.compute_dice(prediction, reference, ignore_empty=False)[0, 4] == 0
    assert rows["5"]["iou"] == monai.compute_iou(prediction, reference, ignore_empty=False)[0, 4] == 0
    assert theirs["specificity"][6] == 1  # here a label in neither image leaves nothing to measure
    assert rows["7"]["specificity"] is None


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dimension", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_distances_of_masks(kind: str, dimension: str, seed: int) -> None:
    drawn = draw(kind, dimension, seed)
    prediction, reference = _channels(drawn.prediction), _channels(drawn.reference)
    options = {"include_background": True, "spacing": drawn.spacing}
    row = _score(drawn, range(1, 2))["1"]
    assert row["hausdorff"] == pytest.approx(
        monai.compute_hausdorff_distance(prediction, reference, **options).item(), rel=1e-5
    )
    assert row["hd95"] == pytest.approx(
        monai.compute_hausdorff_distance(prediction, reference, percentile=95, **options).item(), rel=1e-5
    )
    assert row["assd"] == pytest.approx(
        monai.compute_average_surface_distance(prediction, reference, symmetric=True, **options).item(), rel=1e-5
    )
    for tolerance in TOLERANCES:
        nsd = monai.compute_surface_dice(prediction, reference, [tolerance], **options).item()
        assert _score(drawn, range(1, 2), tolerance)["1"]["nsd"] == pytest.approx(nsd, rel=1e-6)


@pytest.mark.parametrize("dimension", SHAPES)
def test_distances_of_many_labels(dimension: str) -> None:
    drawn = draw_labels(dimension, 1)
    labels = range(1, 5)
    prediction, reference = _one_hot(drawn.prediction, labels), _one_hot(drawn.reference, labels)
    theirs = {
        "hausdorff": monai.compute_hausdorff_distance(prediction, reference, spacing=drawn.spacing),
        "hd95": monai.compute_hausdorff_distance(prediction, reference, percentile=95, spacing=drawn.spacing),
        "assd": monai.compute_average_surface_distance(prediction, reference, symmetric=True, spacing=drawn.spacing),
        "nsd": monai.compute_surface_dice(prediction, reference, [1.37] * 4, spacing=drawn.spacing),
    }
    for channel, row in enumerate(_score(drawn, labels, 1.37).values()):
        for name, values in theirs.items():
            assert row[name] == pytest.approx(values[0, channel].item(), rel=1e-5), name


@pytest.mark.parametrize("dimension", SHAPES)
def test_voxels_without_annotation(dimension: str) -> None:
    """They count nowhere in either; for NSD they are background in both images."""
    drawn = draw_labels(dimension, 2)
    ignore = 9
    labels = range(1, 5)
    # A voxel without a channel is one without annotation there, so that the other labels become background.
    prediction, reference = (np.where(image > 4, 0, image) for image in (drawn.prediction, drawn.reference))
    reference[np.random.default_rng(0).random(reference.shape) < 0.1] = ignore
    drawn = Drawn(prediction, reference, drawn.spacing)
    theirs = _one_hot(prediction, labels), _one_hot(reference, labels, ignore)
    matrix = monai.get_confusion_matrix(*theirs, include_background=False, ignore_index=-1)[0]
    nsd = monai.compute_surface_dice(*theirs, [1.37] * 4, spacing=drawn.spacing, ignore_index=-1)[0]
    for channel, row in enumerate(_score(drawn, labels, 1.37, ignore).values()):
        tp, fp, tn, fn = (int(value) for value in matrix[channel])
        assert _counts(row) == Counts(tp=tp, fp=fp, fn=fn, tn=tn)
        assert row["nsd"] == pytest.approx(nsd[channel].item(), rel=1e-6)


@pytest.mark.parametrize("empty", ["prediction", "reference", "both"])
def test_distances_to_nothing(empty: str) -> None:
    """NSD is equal: 0 if one mask is empty, no value if both are. Distances are infinite there and None here."""
    drawn = draw("blobs", "3D", 0)
    nothing = np.zeros_like(drawn.reference)
    prediction = drawn.prediction if empty == "reference" else nothing
    reference = drawn.reference if empty == "prediction" else nothing
    row = _score(Drawn(prediction, reference, drawn.spacing), range(1, 2))["1"]
    tensors = _channels(prediction), _channels(reference)
    options = {"include_background": True, "spacing": drawn.spacing}
    distances = [
        monai.compute_hausdorff_distance(*tensors, **options).item(),
        monai.compute_average_surface_distance(*tensors, symmetric=True, **options).item(),
    ]
    nsd = monai.compute_surface_dice(*tensors, [1.0], **options).item()
    assert [row[name] for name in ("hausdorff", "hd95", "assd")] == [None] * 3
    if empty == "both":
        assert np.isnan([*distances, nsd]).all()
        assert row["nsd"] is None
    else:
        assert distances == [np.inf, np.inf]
        assert row["nsd"] == nsd == 0


@pytest.mark.parametrize("step", [0.5, 0.7, 0.8])
def test_a_distance_equal_to_the_tolerance_is_within(step: float) -> None:
    prediction = np.zeros((8, 8, 8), bool)
    prediction[2] = True
    drawn = Drawn(prediction, np.roll(prediction, 3, 0), (step, 1.0, 1.0))
    for tolerance, expected in ((round(3 * step, 1), 1), (0.999 * 3 * step, 0)):
        nsd = monai.compute_surface_dice(
            _channels(drawn.prediction),
            _channels(drawn.reference),
            [tolerance],
            include_background=True,
            spacing=drawn.spacing,
        )
        assert _score(drawn, range(1, 2), tolerance)["1"]["nsd"] == nsd.item() == expected

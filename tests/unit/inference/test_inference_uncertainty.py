"""Expected Dice against closed cases and simulation; disagreement against its information-theoretic bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoseg.data.labels import LabelScheme
from autoseg.inference.sliding_window import Sliding, predict_logits
from autoseg.inference.uncertainty import ExpectedDice, disagreement
from autoseg.training.runtime import Runtime

PLAIN = LabelScheme(names={"background": 0, "organ": 5, "lesion": 9})
REGIONS = LabelScheme(
    names={"background": 0, "rim": 1, "core": 2}, regions={"whole": (1, 2), "inner": (2,)}, region_order=(1, 2)
)


def expected(scheme: LabelScheme, probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    sums = ExpectedDice(scheme)
    sums.add(probabilities, labels)
    return sums.result()


def softmax_volume(shape: tuple[int, ...], sharpness: float = 1.5) -> np.ndarray:
    logits = np.random.default_rng(0).normal(0, sharpness, (3, *shape))
    return (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)


def test_a_certain_prediction_expects_1() -> None:
    labels = np.random.default_rng(1).integers(0, 3, (4, 5, 6))
    certain = (labels == np.arange(3)[:, None, None, None]).astype(np.float32)
    assert expected(PLAIN, certain, labels) == {"organ": 1.0, "lesion": 1.0}


def test_closed_cases_by_hand() -> None:
    even = np.zeros((3, 1, 1, 4), np.float32)
    even[:2] = 0.5
    # all four voxels predicted: 2 (4 x 0.5) / (4 + 4 x 0.5); the lesion neither predicted nor expected
    assert expected(PLAIN, even, np.ones((1, 1, 4), int)) == {"organ": pytest.approx(2 / 3), "lesion": None}
    # two of four: 2 (2 x 0.5) / (2 + 2)
    assert expected(PLAIN, even, np.array([[[1, 1, 0, 0]]]))["organ"] == pytest.approx(0.5)
    # nothing is predicted although two voxels are expected
    assert expected(PLAIN, even, np.zeros((1, 1, 4), int))["organ"] == 0.0
    # a lesion that is predicted where none is expected
    assert expected(PLAIN, even, np.full((1, 1, 4), 2))["lesion"] == 0.0


def test_half_a_voxel_decides_whether_an_object_is_expected() -> None:
    background = np.zeros((1, 1, 8), int)
    for share, value in ((0.06, None), (0.07, 0.0)):  # 0.48 and 0.56 voxels
        faint = np.zeros((3, 1, 1, 8), np.float32)
        faint[0], faint[1] = 1 - share, share
        assert expected(PLAIN, faint, background)["organ"] == value


def test_it_is_the_mean_dice_over_references_drawn_from_the_probabilities() -> None:
    probabilities = softmax_volume((6, 20, 20))
    labels = probabilities.argmax(0)
    generator = np.random.default_rng(2)
    bounds = probabilities.cumsum(0)[:2]
    dice = []
    for _ in range(300):
        reference = (generator.random(labels.shape) > bounds).sum(0)
        both = (reference == 1) & (labels == 1)
        dice.append(2 * both.sum() / ((reference == 1).sum() + (labels == 1).sum()))
    error = np.std(dice) / math.sqrt(len(dice))
    # beside the simulation's error, the quotient of expectations is off by about 1 / voxels
    assert expected(PLAIN, probabilities, labels)["organ"] == pytest.approx(np.mean(dice), abs=4 * error + 1e-3)


@pytest.mark.parametrize("scheme", [PLAIN, REGIONS])
def test_slabs_add_up_to_the_whole(scheme: LabelScheme) -> None:
    probabilities = softmax_volume((7, 5, 6))[: scheme.outputs]
    labels = np.random.default_rng(3).integers(0, 3, (7, 5, 6))
    sums = ExpectedDice(scheme)
    for rows in (slice(0, 3), slice(3, 4), slice(4, 7)):
        sums.add(torch.from_numpy(probabilities[:, rows]), labels[rows])
    whole = expected(scheme, probabilities, labels)
    assert sums.result() == {name: pytest.approx(value) for name, value in whole.items()}
    assert ExpectedDice(scheme).result() == dict.fromkeys(scheme.foreground)


def test_overlapping_regions_have_values_of_their_own() -> None:
    labels = np.array([[[0, 1, 2, 2]]])
    probabilities = np.array([[0.1, 0.8, 0.9, 0.6], [0.0, 0.4, 0.7, 0.5]], np.float32).reshape(2, 1, 1, 4)
    found = expected(REGIONS, probabilities, labels)
    assert found["whole"] == pytest.approx(2 * 2.3 / (3 + 2.4))
    assert found["inner"] == pytest.approx(2 * 1.2 / (2 + 1.6))


class Fixed(nn.Module):
    """Answers every voxel with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.view(1, -1, 1, 1, 1).expand(len(images), -1, *images.shape[2:]).clone()


def contradiction(*networks: nn.Module, outputs: int, regions: bool = False) -> tuple[Tensor, Tensor]:
    sliding = Sliding((4, 8, 8), mirror_axes=(0, 2), batch=4)
    image = torch.zeros(1, 6, 10, 8)
    return disagreement(networks, image, outputs, sliding, Runtime(), regions=regions)


def test_equal_networks_do_not_disagree() -> None:
    _, found = contradiction(Fixed(0.3, -0.2, 0.9), Fixed(0.3, -0.2, 0.9), Fixed(0.3, -0.2, 0.9), outputs=3)
    assert found.shape == (6, 10, 8)
    assert found.dtype == torch.float32
    assert float(found.min()) >= 0
    assert float(found.max()) < 1e-6


def test_two_networks_that_are_sure_of_opposites_disagree_by_log_2() -> None:
    _, found = contradiction(Fixed(60.0, 0.0), Fixed(0.0, 60.0), outputs=2)
    torch.testing.assert_close(found, torch.full_like(found, math.log(2)))
    _, found = contradiction(Fixed(60.0, 5.0), Fixed(-60.0, 5.0), outputs=2, regions=True)
    torch.testing.assert_close(found, torch.full_like(found, math.log(2)))


def test_five_networks_disagree_as_the_formula_says() -> None:
    rates = np.array([0.9, 0.8, 0.5, 0.3, 0.1])
    logits, found = contradiction(*(Fixed(math.log(p), math.log(1 - p)) for p in rates), outputs=2)

    def entropy(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    value = entropy(rates.mean()) - np.mean([entropy(p) for p in rates])
    torch.testing.assert_close(found, torch.full_like(found, value))
    torch.testing.assert_close(logits[0], torch.full_like(logits[0], float(np.log(rates).mean())))


def test_one_network_gives_its_entropy() -> None:
    _, found = contradiction(Fixed(0.0, 0.0, 0.0), outputs=3)
    torch.testing.assert_close(found, torch.full_like(found, math.log(3)))
    _, found = contradiction(Fixed(0.0, 40.0), outputs=2, regions=True)
    torch.testing.assert_close(found, torch.full_like(found, math.log(2)))


def test_mean_logits_are_those_of_the_usual_prediction() -> None:
    torch.manual_seed(0)
    networks = [nn.Conv3d(1, 3, 3, padding=1).eval() for _ in range(3)]
    image, sliding = torch.randn(1, 7, 9, 11), Sliding((4, 8, 8), mirror_axes=(1,), batch=2)
    logits, found = disagreement(networks, image, 3, sliding, Runtime(), regions=False)
    torch.testing.assert_close(logits, predict_logits(networks, image, 3, sliding, Runtime()))
    assert found.isfinite().all()

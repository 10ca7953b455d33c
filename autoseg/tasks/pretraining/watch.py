"""Whether embeddings still tell images apart: variance, rank, alignment, uniformity, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from autoseg.records import Record

_SMALL = 1e-12


class CollapseRules(Record):
    """From where on embeddings count as collapsed.

    Attributes:
        least_deviation: of `relative_deviation`, which is 1 where directions are spread evenly. Features after a ReLU
            share a positive mean, so that an encoder with fresh weights has about 0.1 already.
        least_rank: effective rank of the embeddings less their mean.
        least_information: `information` of assignments to prototypes, in nats.
        least_samples: fewer than these give no verdict.
    """

    least_deviation: float = Field(default=0.005, ge=0)
    least_rank: float = Field(default=1.5, ge=1)
    least_information: float = Field(default=0.05, ge=0)
    least_samples: int = Field(default=16, ge=2)


@dataclass(frozen=True)
class Health:
    """What the embeddings of some images look like.

    Attributes:
        samples: how many.
        deviation: `relative_deviation`.
        effective_rank: of the embeddings less their mean.
        uniformity: lower is more evenly spread; None for fewer than two samples.
        alignment: mean squared distance of two views, lower is closer; None without a second view.
        collapsed: whether images can no longer be told apart.
        reason: why so, in words; empty while all is well.
        information: of the assignments to prototypes; None for a method without.
        uninformed: whether these say nothing of the image. A training begins so; it must not stay so.
    """

    samples: int
    deviation: float
    effective_rank: float
    uniformity: float | None
    alignment: float | None
    collapsed: bool
    reason: str = ""
    information: float | None = None
    uninformed: bool = False


@torch.no_grad()
def look(
    embeddings: Tensor,
    second: Tensor | None = None,
    rules: CollapseRules | None = None,
    *,
    assignment: Tensor | None = None,
) -> Health:
    """Measures and judges embeddings (N, F) of different images, and those of a second view of each if given.

    So also the probabilities (N', K) of prototypes, of the same images, where there are any. Embeddings of several
    steps are to be laid together until there are `least_samples`, since a small batch has a small rank whatever the
    network does. Values that are not finite count as collapsed.

    Args:
        embeddings: (N, F), one per image.
        second: (N, F), of another view of the same images; None where there is none.
        rules: what counts as collapsed; None takes the usual.
        assignment: (N', K) probabilities; None where the method has no prototypes.
    """
    rules = rules or CollapseRules()
    embeddings = embeddings.double()
    if not bool(embeddings.isfinite().all()):
        return Health(len(embeddings), 0.0, 0.0, None, None, True, "embeddings are not finite numbers")
    several = len(embeddings) > 1
    deviation = float(relative_deviation(embeddings)) if several else 0.0
    rank = float(effective_rank(embeddings - embeddings.mean(0))) if several else 0.0
    reason = ""
    if len(embeddings) >= rules.least_samples:
        if deviation < rules.least_deviation:
            reason = f"all images have nearly the same embedding: deviation {deviation:.3g} of the 1 of an even spread"
        elif rank < rules.least_rank:
            reason = f"embeddings vary in few directions: effective rank {rank:.2f} of {embeddings.shape[1]}"
    bits = None if assignment is None else float(information(assignment))
    enough = len(embeddings) >= rules.least_samples
    return Health(
        samples=len(embeddings),
        information=bits,
        uninformed=bits is not None and enough and not bits >= rules.least_information,
        deviation=deviation,
        effective_rank=rank,
        uniformity=float(uniformity(embeddings)) if several else None,
        alignment=None if second is None else float(alignment(embeddings, second.double())),
        collapsed=bool(reason),
        reason=reason,
    )


def information(probabilities: Tensor) -> Tensor:
    """What an assignment says of the image, in nats: the entropy of the mean of (N, K) less the mean entropy.

    0 where all images have the same one, be it even or a single prototype; at most log min(N, K).
    """
    values = probabilities.double()
    return torch.special.entr(values.mean(0)).sum() - torch.special.entr(values).sum(1).mean()


def deviation_of_unit(embeddings: Tensor) -> Tensor:
    """The mean over features of the sample deviation of unit vectors from (N, F): 0 if all are the same.

    Directions that are spread evenly give about 1 / sqrt(F).

    Source: Chen and He 2021 (SimSiam), arXiv:2011.10566, section 4.1.
    """
    return functional.normalize(embeddings, dim=1).std(0).mean()


def relative_deviation(embeddings: Tensor) -> Tensor:
    """`deviation_of_unit` times sqrt(F): about 1 for directions that are spread evenly, whatever their number."""
    return deviation_of_unit(embeddings) * embeddings.shape[1] ** 0.5


def effective_rank(matrix: Tensor) -> Tensor:
    """The exponential of the entropy of the singular values as shares of their sum, for (N, F).

    k equal singular values give k; a matrix of zeros gives 0.

    Source: Roy and Vetterli 2007, EUSIPCO; as a measure of embeddings Garrido et al. 2023 (RankMe), arXiv:2210.02885.
    """
    values = torch.linalg.svdvals(matrix)
    total = values.sum()
    if float(total) <= _SMALL:
        return total * 0
    return torch.special.entr(values / total).sum().exp()


def alignment(first: Tensor, second: Tensor, power: float = 2.0) -> Tensor:
    """Mean distance, to a power, of the directions of two views (N, F): 0 where they are the same, 4 where opposite.

    Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1.1.
    """
    apart = functional.normalize(first, dim=1) - functional.normalize(second, dim=1)
    return torch.linalg.vector_norm(apart, dim=1).pow(power).mean()


def uniformity(embeddings: Tensor, t: float = 2.0) -> Tensor:
    """The logarithm of the mean over pairs of exp(-t distance^2) of directions (N, F), N at least 2.

    It is 0 if all are the same. Source: Wang and Isola 2020, arXiv:2005.10242, section 4.1.2.
    """
    return torch.pdist(functional.normalize(embeddings, dim=1)).square().mul(-t).exp().mean().log()

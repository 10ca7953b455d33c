"""A drawing of a planned U-Net: boxes of the encoder and the decoder at their places, for the SVG template."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoseg.plan.cost import way_down
from autoseg.plan.layers import layers_of, tells_layers
from autoseg.plan.record import ConfigurationPlan

BOX_WIDTH, BOX_HEIGHT = 148, 56
_ROW = 92
"""Distance of two stages down the page; the rest of a row holds the arrow with its stride."""
_SLANT = 92
"""How far each deeper stage moves to the middle."""
_TOP, _SIDE = 44, 6


@dataclass(frozen=True)
class StageBox:
    """One stage of one arm; `x`, `y` is its upper left corner, in the drawing's units.

    Attributes:
        depth: 0 at full resolution.
        features, size, blocks: the three lines of text.
        strength: 0 to 1, deeper stages are drawn stronger.
        loss: whether deep supervision looks at this stage's output.
    """

    x: float
    y: float
    depth: int
    features: str
    size: str
    blocks: str
    strength: float
    loss: bool = False


@dataclass(frozen=True)
class Arrow:
    """A change of resolution between two stages, straight down or up at `x`."""

    x: float
    y_from: float
    y_to: float
    text: str


@dataclass(frozen=True)
class Drawing:
    """Everything that the template places, with the size of the drawing."""

    width: float
    height: float
    encoder: tuple[StageBox, ...]
    decoder: tuple[StageBox, ...]
    down: tuple[Arrow, ...]
    up: tuple[Arrow, ...]
    input: str
    output: str


def stage_sizes(configuration: ConfigurationPlan) -> tuple[tuple[int, ...], ...]:
    """Voxels of the feature maps per stage, highest resolution first: the patch divided by the strides so far.

    Convolutions with stride s and padding (k - 1) / 2 give ceil(n / s) voxels.
    """
    sizes = []
    current = configuration.patch_size
    for stride in configuration.strides:
        current = tuple(math.ceil(n / s) for n, s in zip(current, stride, strict=True))
        sizes.append(current)
    return tuple(sizes)


def draw(configuration: ConfigurationPlan, channels: int, outputs: int) -> Drawing:
    """Places a U-Net's stages: encoder down the left, decoder up the right, the deepest stage between.

    Args:
        configuration: of a network that is built of the whole planned topology (`NetworkFamily.topology`).
        channels: of its input.
        outputs: channels of the logits.
    """
    stages, sizes = configuration.stages, stage_sizes(configuration)
    width = 2 * _SIDE + BOX_WIDTH + 2 * _SLANT * max(stages - 1, 1)
    of_encoder = "conv" if _blocks_are_convolutions(configuration) else "block"

    def box(depth: int, blocks: int, decoder: bool) -> StageBox:
        offset = _SIDE + _SLANT * depth
        count = f"{blocks} {'conv' if decoder else of_encoder}{'s' if blocks > 1 else ''}"
        return StageBox(
            x=width - offset - BOX_WIDTH if decoder else offset,
            y=_TOP + _ROW * depth,
            depth=depth,
            features=f"{configuration.features_per_stage[depth]} features",
            size=times(sizes[depth]),
            blocks=f"{count} {times(configuration.kernel_sizes[depth])}",
            strength=(depth + 1) / stages,
            # The lowest of several resolutions is weighted zero in the loss (nnU-Net).
            loss=decoder and configuration.deep_supervision and (depth < stages - 2 or depth == 0),
        )

    encoder = tuple(box(depth, configuration.blocks_per_stage[depth], False) for depth in range(stages))
    decoder = tuple(
        box(depth, configuration.decoder_blocks_per_stage[stages - 2 - depth], True) for depth in range(stages - 1)
    )
    levels = range(1, stages)
    return Drawing(
        width=width,
        height=_TOP + _ROW * (stages - 1) + BOX_HEIGHT + 8,
        encoder=encoder,
        decoder=decoder,
        down=tuple(_arrow(encoder[depth].x + 34, depth, configuration) for depth in levels),
        up=tuple(_arrow(width - encoder[depth].x - 34, depth, configuration) for depth in levels),
        input=f"input: {channels} channel{'s' if channels > 1 else ''}, {times(configuration.patch_size)}",
        output=f"output: {outputs} channel{'s' if outputs > 1 else ''}",
    )


def times(values: tuple[int, ...] | tuple[float, ...]) -> str:
    """Sizes as one reads them: `3 × 3 × 3`."""
    return " × ".join(f"{value:g}" for value in values)


def _blocks_are_convolutions(configuration: ConfigurationPlan) -> bool:
    """Whether the encoder has a convolution for each block that is planned."""
    if not tells_layers(configuration.network):
        return False
    return len(list(way_down(layers_of(configuration, 1, 1)))) == sum(configuration.blocks_per_stage)


def _arrow(x: float, depth: int, configuration: ConfigurationPlan) -> Arrow:
    bottom = _TOP + _ROW * (depth - 1) + BOX_HEIGHT
    return Arrow(x, bottom, _TOP + _ROW * depth, times(configuration.strides[depth]))

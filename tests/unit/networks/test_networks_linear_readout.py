"""The linear read-out: a linear function of interpolated features, on weights that stay."""

from __future__ import annotations

import pytest
import torch
from plugin_networks import PLUG_INS
from torch.nn import functional

from autoseg import plugins
from autoseg.errors import ConfigurationError
from autoseg.networks.build import build_network
from autoseg.networks.linear_readout import LinearReadout
from tests.unit.tasks.pretraining.blob_images import plan


@pytest.mark.parametrize("dimension", [2, 3])
def test_logits_are_linear_in_the_hypercolumn(dimension: int) -> None:
    """Equal to enlarging the features first and then applying one matrix, the definition."""
    configuration = plan(dimension, "linear-readout", options={"encoder": "plain-unet"})
    network = build_network(configuration, 1, 3, seed=0)
    assert isinstance(network, LinearReadout)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.readouts.parameters():
            weight.normal_(generator=generator)
    image = torch.randn((2, 1, *(16,) * dimension), generator=generator)
    features, columns = image, []
    mode = "bilinear" if dimension == 2 else "trilinear"
    for stage in network.encoder:
        features = stage(features)
        columns.append(functional.interpolate(features, size=image.shape[2:], mode=mode, align_corners=False))
    matrix = torch.cat([readout.weight.flatten(1) for readout in network.readouts], dim=1)
    expected = torch.einsum("oc,bc...->bo...", matrix, torch.cat(columns, 1))
    expected += network.readouts[0].bias.reshape(1, -1, *(1,) * dimension)
    torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-4)


def test_only_the_readout_is_trained() -> None:
    configuration = plan(2, "linear-readout", options={"encoder": "residual-encoder-unet"})
    network = build_network(configuration, 1, 3, seed=0)
    network(torch.randn(1, 1, 16, 16)).square().mean().backward()
    trained = {name.partition(".")[0] for name, weight in network.named_parameters() if weight.grad is not None}
    assert trained == {"readouts"}


def test_an_encoder_must_be_named_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="needs an encoder"):
        build_network(plan(2, "linear-readout"), 1, 2)
    monkeypatch.setattr(plugins, "_registered", PLUG_INS)
    told, silent = (plan(2, "linear-readout", options={"encoder": name}) for name in ("wrapped-told", "wrapped"))
    assert build_network(told, 1, 2)(torch.zeros(1, 1, 16, 16)).shape == (1, 2, 16, 16)
    with pytest.raises(ConfigurationError, match="'wrapped' has no known encoder"):
        build_network(silent, 1, 2)

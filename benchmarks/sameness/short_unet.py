"""Plug-in file for `autoseg --plugin`: the baseline that trains a network, for a number of steps.

From the command line it trains for a time, and what it has learned by then differs from call to call.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from autoseg.plugins import register, resolve


@register("baseline", "short-unet")
def short_unet(context: Any) -> Any:
    """The baseline plain-unet, trained for four steps."""
    options = {**context.options, "steps": 4, "seconds": 3600.0}
    return resolve("baseline", "plain-unet")(dataclasses.replace(context, options=options))

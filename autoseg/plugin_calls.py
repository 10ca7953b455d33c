"""How plug-ins of each kind are called, and whether one can be: told when it is resolved, not in the first step.

The contract of a kind, what it does when it is called, is in `autoseg.testing`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from autoseg.errors import PluginError


@dataclass(frozen=True)
class Call:
    """The arguments that a plug-in gets.

    Attributes:
        positional: what stands for each positional argument, in words of the kind's protocol.
        keywords: names of the arguments that are given by name.
    """

    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [*self.positional, *(["*"] if self.keywords else []), *self.keywords]
        return f"({', '.join(parts)})"


CALLS: dict[str, Call] = {
    "planner": Call(("fingerprint", "labels", "context")),
    "trainer": Call(("context",)),
    "network": Call(("configuration", "channels", "outputs")),
    "loss": Call(("logits", "target"), ("batch_dice",)),
    "sampler": Call(("store", "rules")),
    "augmentation": Call(("configuration", "labels")),
    "normalization": Call(("array", "mask", "statistics")),
    "baseline": Call(("context",)),
    "regularizer": Call(("field", "spacing")),
    "registration": Call(("pair", "options"), ("seed", "device")),
    "label transfer": Call(("labels", "moving", "fixed", "onto", "shape"), ("method",)),
    "report section": Call(("records",)),
    "hook": Call(("fold", "first_step")),
    "listing": Call(),
}
"""Kinds whose plug-ins are called with the same arguments each; those of others take options of their own."""


def check_call(kind: str, name: str, plugin: Any) -> None:
    """Refuses a plug-in that cannot be called as its kind is.

    A plug-in of a kind without a fixed call, and one whose signature cannot be told (written in C), passes.

    Raises:
        PluginError: it is not callable, or takes other arguments.
    """
    call = CALLS.get(kind)
    if call is None:
        return
    if not callable(plugin):
        raise PluginError(
            f"the {kind} {name!r} cannot be called", got=type(plugin).__name__, expected=f"something that takes {call}"
        )
    try:
        signature = inspect.signature(plugin)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*call.positional, **dict.fromkeys(call.keywords))
    except TypeError as error:
        raise PluginError(
            f"the {kind} {name!r} cannot be called: {error}",
            got=f"{getattr(plugin, '__name__', type(plugin).__name__)}{signature}",
            expected=f"{call}; further arguments need defaults",
            remedy="the page 'Add your own part' of the documentation has the smallest example of each kind",
        ) from None

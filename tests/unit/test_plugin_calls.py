"""Signatures of plug-ins are looked at when they are resolved."""

from __future__ import annotations

from typing import Any

import pytest

from autoseg import plugins
from autoseg.errors import PluginError
from autoseg.plugin_calls import CALLS, Call, check_call


@pytest.fixture(autouse=True)
def _nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_registered", {})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in CALLS for name in plugins.BUILT_IN[kind]])
def test_the_projects_own_plugins_can_be_called(kind: str, name: str) -> None:
    check_call(kind, name, plugins.resolve(kind, name))


def test_every_kind_with_a_call_is_a_kind() -> None:
    assert set(CALLS) <= set(plugins.BUILT_IN)


WRONG: dict[str, tuple[str, Any]] = {
    "a keyword is missing": ("loss", lambda logits, target: None),
    "one argument too few": ("planner", lambda fingerprint, labels: None),
    "one argument too many": ("hook", lambda fold, first_step, more: None),
    "not a function": ("report section", "a text"),
}


@pytest.mark.parametrize(("kind", "plugin"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_signature_is_told_when_it_is_resolved(kind: str, plugin: Any) -> None:
    plugins.register(kind, "mine")(plugin)
    with pytest.raises(PluginError, match=f"the {kind} 'mine' cannot be called"):
        plugins.resolve(kind, "mine")


RIGHT: dict[str, tuple[str, Any]] = {
    "further arguments with defaults": ("loss", lambda logits, target, *, batch_dice, smooth=1.0: None),
    "any arguments": ("hook", lambda *arguments, **options: None),
    "a class": ("trainer", type("Mine", (), {"__init__": lambda self, context: None})),
    "a function of C": ("normalization", max),
    "options of its own": ("transform", lambda strength=1.0: None),
}


@pytest.mark.parametrize(("kind", "plugin"), RIGHT.values(), ids=RIGHT.keys())
def test_what_can_be_called_is_given(kind: str, plugin: Any) -> None:
    plugins.register(kind, "mine")(plugin)
    assert plugins.resolve(kind, "mine") is plugin


def test_a_call_in_words() -> None:
    assert str(Call(("logits", "target"), ("batch_dice",))) == "(logits, target, *, batch_dice)"

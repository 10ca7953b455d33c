"""The plug-in that is checked, and what is raised at the first promise that it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ContractBroken(AssertionError):
    """A plug-in does not do what its kind promises.

    Attributes:
        kind, name: of the plug-in.
        expected: the promise.
        got: what was there instead, in words; None where the promise says it.
    """

    def __init__(self, kind: str, name: str, expected: str, got: object = None) -> None:
        self.kind, self.name, self.expected = kind, name, expected
        self.got = None if got is None else str(got)
        lines = [f"the {kind} {name!r} breaks its contract", f"  expected: {expected}"]
        super().__init__("\n".join([*lines, *([] if self.got is None else [f"  got: {self.got}"])]))


@dataclass(frozen=True)
class Subject:
    """The plug-in that a contract looks at.

    Attributes:
        kind, name: of the plug-in.
        plugin: the object itself.
    """

    kind: str
    name: str
    plugin: Any

    def promise(self, kept: bool, expected: str, got: object = None) -> None:
        """Goes on where a promise is kept.

        Args:
            kept: whether it is.
            expected: the promise, in words.
            got: what is there instead.

        Raises:
            ContractBroken: it is not.
        """
        if not kept:
            raise ContractBroken(self.kind, self.name, expected, got)

"""The one tree of errors a user may see: each says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class AutosegError(Exception):
    """Something the user can mend; the command line prints it and exits with 2.

    Args:
        subject: what is wrong, in one clause ("image and label have different shapes").
        where: the case, file, field or step it concerns.
        got: the value found.
        expected: the value needed.
        remedy: the next step for the user.
    """

    def __init__(
        self,
        subject: str,
        *,
        where: object = None,
        got: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        self.subject = subject
        self.where = None if where is None else str(where)
        self.got = None if got is None else str(got)
        self.expected = None if expected is None else str(expected)
        self.remedy = remedy
        super().__init__(self.message())

    def __reduce__(self) -> tuple[Callable[..., AutosegError], tuple[type[AutosegError], dict[str, object]]]:
        """Errors cross from worker processes whole, whatever their constructors ask for."""
        return _rebuild, (type(self), self.__dict__)

    def message(self) -> str:
        """The whole message, one clause per line; clauses that are not known are left out."""
        head = self.subject if self.where is None else f"{self.where}: {self.subject}"
        parts = [head]
        if self.got is not None:
            parts.append(f"  got:      {self.got}")
        if self.expected is not None:
            parts.append(f"  expected: {self.expected}")
        if self.remedy:
            parts.append(f"  to do:    {self.remedy}")
        return "\n".join(parts)


class ConfigurationError(AutosegError):
    """A wrong option, field or name given by the user or found in a file."""


class DatasetError(AutosegError):
    """A data set that cannot be understood or has errors."""


class ImageError(AutosegError):
    """One image file that cannot be read, written or used."""


class PlanError(AutosegError):
    """A plan that cannot be made or does not fit the request."""


class WorkspaceError(AutosegError):
    """A run folder that lacks a stage, belongs to other data, or cannot be written."""


class TrainingError(AutosegError):
    """A training that cannot go on (a loss that is not finite, a dead worker)."""


class RegistrationError(AutosegError):
    """Images that cannot be registered (no overlap, no contrast, other dimensionality), or a fit that cannot go on."""


class PluginError(AutosegError):
    """A plug-in that is not known or does not keep its contract."""


class ErrorGroup(AutosegError):
    """Several errors reported together, none hidden behind the first."""

    def __init__(self, subject: str, errors: Sequence[AutosegError], *, remedy: str | None = None) -> None:
        self.errors = tuple(errors)
        super().__init__(subject, remedy=remedy)

    def message(self) -> str:
        lines = [f"{self.subject} ({len(self.errors)}):"]
        lines += ["- " + error.message().replace("\n", "\n  ") for error in self.errors]
        if self.remedy:
            lines.append(f"to do: {self.remedy}")
        return "\n".join(lines)


def _rebuild(kind: type[AutosegError], state: dict[str, object]) -> AutosegError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (error.message(),)
    return error

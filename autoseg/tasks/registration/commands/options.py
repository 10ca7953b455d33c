"""Options that the commands of registration share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli import options

if TYPE_CHECKING:
    from autoseg.tasks.registration.methods import RegistrationOptions
    from autoseg.tasks.registration.pipeline.request import SubjectsRequest

MethodName = Annotated[str, typer.Option("--method", metavar="NAME", help="Method (see `autoseg list registrations`).")]
Stages = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Of center, translation, rigid, similarity, affine, deformable, joined by commas, in this order.",
        show_default="center,affine,deformable",
    ),
]
Similarity = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What is optimised (see `autoseg list similarities`); the method's own choice."),
]


@dataclass(frozen=True)
class SubjectsOptions:
    """How the cases of a data set are registered."""

    method: MethodName = "multi-stage"
    stages: Stages = None
    similarity: Similarity = None
    seed: options.Seed = None
    device: options.Device = "auto"
    workers: options.Workers = None

    def request(self, context: typer.Context, *, resume: bool) -> SubjectsRequest:
        """What is asked of the pipeline; files of plug-ins are those of the command line, for other processes."""
        from autoseg.tasks.registration.pipeline.request import RegistrationRequest, SubjectsRequest

        return SubjectsRequest(
            registration=RegistrationRequest(
                method=self.method,
                options=registration_options(stages=self.stages, similarity=self.similarity),
                seed=self.seed or 0,
                device=self.device,
            ),
            workers=self.workers,
            resume=resume,
            plugin_files=plugin_files(context),
        )


def registration_options(*, stages: str | None, **others: object) -> RegistrationOptions:
    """What is asked of a registration; what is None is the method's choice.

    Args:
        stages: joined by commas.
        others: by the names of the fields of `RegistrationOptions`.
    """
    from autoseg.tasks.registration.methods import RegistrationOptions
    from autoseg.tasks.registration.pipeline.inputs import parse_stages

    chosen = {"stages": parse_stages(stages), **others}
    return RegistrationOptions.from_mapping({name: value for name, value in chosen.items() if value is not None})


def plugin_files(context: typer.Context) -> tuple[Path, ...]:
    """The files given with `--plugin`, before the name of the command."""
    return tuple(context.find_root().params.get("plugin") or ())

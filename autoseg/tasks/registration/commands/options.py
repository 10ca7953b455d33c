"""Options that the commands of registration share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autoseg.tasks.registration.methods import RegistrationOptions

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


def registration_options(stages: str | None, similarity: str | None) -> RegistrationOptions:
    """What is asked of a registration; the rest is the method's choice."""
    from autoseg.tasks.registration.methods import RegistrationOptions
    from autoseg.tasks.registration.pipeline.inputs import parse_stages

    chosen = {"stages": parse_stages(stages), "similarity": similarity}
    return RegistrationOptions.from_mapping({name: value for name, value in chosen.items() if value is not None})

"""`autoseg propagate-labels`: labels of a data set onto new images, by registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli import options
from autoseg.cli.option_records import with_option_records
from autoseg.tasks.registration.commands.options import SubjectsOptions

if TYPE_CHECKING:
    from autoseg.tasks.registration.pipeline.propagation import Propagation


@with_option_records
def propagate_labels(
    context: typer.Context,
    atlas_cases: Annotated[
        Path, typer.Argument(metavar="ATLAS_CASES", exists=True, file_okay=False, help="Data set with labels.")
    ],
    targets: Annotated[
        list[Path], typer.Argument(metavar="TARGETS...", exists=True, help="A folder, a file or several files.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Folder for proposals and disagreement maps.")
    ],
    *,
    atlases: Annotated[int, typer.Option(metavar="N", min=1, help="How many of the most similar cases vote.")] = 10,
    subjects: SubjectsOptions,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in DIR: keep what is done there.")] = False,
) -> None:
    """Propose labels for new images.

    The cases most similar to each target are registered to it, and the majority of their labels decides. Beside each
    proposal stands how far they disagree. A target that fails is named, and the exit code is then 2.
    """
    options.follow_along_or_lead(out / "run.log")
    from autoseg.tasks.registration.pipeline import propagation as pipeline

    request = subjects.request(context, resume=resume)
    propagation = pipeline.propagate_labels(atlas_cases, targets, out, request, atlases=atlases)
    show_propagation(propagation)
    typer.echo(f"proposals: {out}")
    for error in propagation.errors.values():
        typer.echo(f"error: {error}", err=True)
    if propagation.errors:
        raise typer.Exit(2)


def show_propagation(propagation: Propagation) -> None:
    """Prints for each label how far the atlases disagree, and the targets where some of them failed."""
    from autoseg.cli.tables import show

    proposals = propagation.proposals
    labels = list(dict.fromkeys(label for proposal in proposals.values() for label in proposal.volumes))
    rows = []
    for label in labels:
        shares = [share for proposal in proposals.values() if (share := proposal.disagreement[label]) is not None]
        mean = "-" if not shares else f"{sum(shares) / len(shares):.3f}"
        worst = "-" if not shares else f"{max(shares):.3f}"
        rows.append([label, mean, worst, str(len(proposals) - len(shares))])
    count = len(proposals)
    title = f"{count} target{'' if count == 1 else 's'}: share of atlases that name another label"
    show(title, ["label", "mean", "worst target", "targets without it"], rows)
    for name, proposal in proposals.items():
        failed = [vote.atlas for vote in proposal.votes if vote.failure is not None]
        if failed:
            typer.echo(f"warning: {name}: could not be registered: {', '.join(failed)}")

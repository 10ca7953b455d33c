"""What is known of a published challenge: one record, one TOML file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

import datasets_spec
from autoseg.errors import ConfigurationError
from autoseg.log import counted
from autoseg.records import Record, read_mapping
from autoseg.studies.benchmark.files import Layout
from autoseg.studies.benchmark.sections import Cases, Channel, Evaluation, Labels, Licence, Publication, Result, Splits

_FILES = (".toml", ".json")


class Specification(Record):
    """A published challenge or benchmark. `docs/benchmarks-catalogue.md` shows how one is written.

    Attributes:
        name: of the file, without its ending.
        title: as its organisers call it.
        task: what is segmented, in one clause.
        modality: of the images ("CT", "MRI", "microscopy", ...).
        body_part: what the images show.
        dimension: 2 for planes, 3 for volumes.
        licence: of the data; None if not known.
        home: address of the challenge or data set.
        paper: key of `sources`: the publication to cite.
        download: how the data are got and unpacked, in words.
        sources: key -> where facts and numbers were read; sections name these keys.
        channels: of the images, in the order of the files or of the array's first axis.
        labels: what is segmented.
        layout: how the unpacked folder becomes cases.
        cases: how many, and what their images are like.
        splits: which are trained on.
        evaluation: how the challenge scores; None if not known.
        results: what was published, to compare with.
        label_hashes: case -> SHA-256 of its label's voxels (`verify.label_digest`). Stands in a file of the same name
            ending in `.sha256` beside the TOML file, a line per case as `sha256sum` writes them.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    task: str
    modality: str
    body_part: str
    dimension: Literal[2, 3]
    licence: Licence | None = None
    home: str
    paper: str
    download: str
    sources: dict[str, Publication]
    channels: tuple[Channel, ...] = Field(min_length=1)
    labels: Labels
    layout: Layout
    cases: Cases
    splits: Splits
    evaluation: Evaluation | None = None
    results: tuple[Result, ...] = ()
    label_hashes: dict[str, str] = {}

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The specification in a file, or the one of that name in the catalogue.

        Args:
            path: a `.toml` file (or the `.json` that `save` writes), or a name of the catalogue.

        Raises:
            ConfigurationError: no such name (with the nearest), no such file, or wrong fields, all of them together.
        """
        file = Path(path)
        if file.suffix not in _FILES:
            file = datasets_spec.path_of(str(path))
        values = read_mapping(file)
        beside = file.with_suffix(".sha256")
        if file.suffix == ".toml" and beside.is_file():
            values["label_hashes"] = _read_hashes(beside)
        return cls.from_mapping(values, where=file)

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for where, key in self._used_sources():
            if key not in self.sources:
                yield f"{where} names the source {key!r}, which is not among {', '.join(self.sources)}"
        scored = set(self.labels.scored)
        named = {} if self.evaluation is None else {"evaluation.tolerances_mm": self.evaluation.tolerances_mm}
        named |= {f"results.{i}.per_label": result.per_label for i, result in enumerate(self.results)}
        named |= {
            f"results.{i}.folds.{part.fold}": part.per_label
            for i, result in enumerate(self.results)
            for part in result.folds
        }
        for where, table in named.items():
            if strangers := sorted(set(table) - scored):
                yield f"{where} names {', '.join(strangers)}, which is not among {', '.join(sorted(scored))}"
        for alternative in self.layout.alternatives:
            if len(alternative.images) not in (1, len(self.channels)):
                patterns = counted(len(alternative.images), "image pattern")
                yield f"{patterns} for {counted(len(self.channels), 'channel')}"
            if strangers := sorted(set(alternative.masks) - set(self.labels.names)):
                yield f"masks are given for {', '.join(strangers)}, which is no label"
        if self.label_hashes and (strangers := sorted(set(self.label_hashes) - set(self.cases.all_identifiers))):
            yield f"hashes are given for {', '.join(strangers[:5])}, which is no training case"

    def _used_sources(self) -> Iterator[tuple[str, str]]:
        yield "paper", self.paper
        yield "layout.source", self.layout.source
        yield "cases.source", self.cases.source
        if self.evaluation is not None:
            yield "evaluation.source", self.evaluation.source
        for where, section in (("splits", self.splits), ("labels", self.labels)):
            if section.source is not None:
                yield f"{where}.source", section.source
        for i, result in enumerate(self.results):
            yield f"results.{i}.source", result.source

    def description(self, ending: str, cases: int) -> dict[str, Any]:
        """The dataset.json, in nnU-Net's form, of a data set made from the challenge.

        Args:
            ending: of its files (".nii.gz").
            cases: how many it has.
        """
        labels = self.labels
        background = next(name for name, value in labels.names.items() if value == 0)
        table: dict[str, Any] = dict(sorted(labels.names.items(), key=lambda item: item[1]))
        if labels.regions:
            table = {background: 0, **{name: list(values) for name, values in labels.regions.items()}}
        if labels.ignore is not None:
            table["ignore"] = labels.ignore
        return {
            "name": self.name,
            "description": self.title,
            "reference": self.home,
            "licence": "unknown" if self.licence is None else self.licence.name,
            "channel_names": {str(i): channel.dataset_name for i, channel in enumerate(self.channels)},
            "labels": table,
            **({"regions_class_order": list(labels.region_order)} if labels.regions else {}),
            "numTraining": cases,
            "file_ending": ending,
        }


def _read_hashes(path: Path) -> dict[str, str]:
    """Case -> hash, from lines "<64 hexadecimal digits>  <case>" (sha256sum's form)."""
    hashes = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line)
        if match is None:
            raise ConfigurationError(
                f"line {number} is no hash", where=path, got=repr(line[:100]), expected="<sha256>  <case>"
            )
        hashes[match[2]] = match[1]
    return hashes

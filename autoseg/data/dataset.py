"""What a data set is: cases with image files and labels, found by `discovery`, whatever the folder's layout."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from autoseg.data.labels import LabelScheme
from autoseg.records import Record


class Reading(Record):
    """How files are read where they leave a choice, as the user made it.

    Attributes:
        series: which volume of a DICOM folder that holds several: "largest", or a pattern that one of them matches;
            None refuses such a folder.
        trust_arrays: lay labels on images by their array indices where the headers place them differently; else that
            is an error.
        untilt: resample the sheared stacks of a tilted gantry; else they are refused.
        labels: all values in the label files of a data set that does not describe them, 0 or not; empty takes those
            that are found. Others are errors then.
        label_colours: colour "#rrggbb" -> label value, for masks that are pictures; empty takes equal channels alone.
        nearest_colours: let colours that are not among them count as the nearest one; else they are an error.
    """

    series: str | None = None
    trust_arrays: bool = False
    untilt: bool = False
    labels: tuple[int, ...] = ()
    label_colours: dict[str, int] = {}
    nearest_colours: bool = False


class Case(Record):
    """One subject: its identifier, its image files and its label file.

    Attributes:
        images: one file per channel, or a single file (or DICOM folder) that holds all channels.
        label: a file, or a folder of a file per structure.
        reading: how the files are read.
        annotated: names of the foreground classes, or regions, that were looked for; None for all of them. Where the
            label has none of these there may be any other.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None = None
    reading: Reading = Reading()
    annotated: tuple[str, ...] | None = None

    @property
    def is_fully_labelled(self) -> bool:
        """Whether there is a label in which every class was looked for."""
        return self.label is not None and self.annotated is None


class Dataset(Record):
    """A data set as it lies on disk.

    Attributes:
        name: from dataset.json, else the folder's name.
        folder: absolute path; that of the file, if its images are listed in one.
        layout: "msd", "nnunet", "plain" or "list".
        channels: a name per channel ("CT", "T2", ...), which decides the normalisation.
        labels: meaning of label values; discovered labels are named by their value.
        file_ending: ending of the images (".nii.gz"); predictions are written with `label_ending`.
        training: cases to learn from, sorted by identifier; each with a label unless the data set was read for a
            task that needs none.
        unlabelled: other images found (imagesTs), sorted by identifier.
        ignored: files passed over as junk, for the user to see.
        warnings: what was assumed, in words.
        unmatched_images: images (first channel) that have no label.
        unmatched_labels: labels that have no image.
        missing_files: files that dataset.json lists and that do not exist.
        missing_channels: case -> names of the channel files it lacks.
    """

    name: str
    folder: Path
    layout: str
    channels: tuple[str, ...]
    labels: LabelScheme
    file_ending: str
    label_ending: str
    training: tuple[Case, ...]
    unlabelled: tuple[Case, ...] = ()
    ignored: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    unmatched_images: tuple[Path, ...] = ()
    unmatched_labels: tuple[Path, ...] = ()
    missing_files: tuple[Path, ...] = ()
    missing_channels: dict[str, tuple[str, ...]] = Field(default={})

    @property
    def reading(self) -> Reading:
        """How files are read where they leave a choice, the same for all cases."""
        return self.training[0].reading if self.training else Reading()

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Identifiers of the training cases, sorted."""
        return tuple(case.id for case in self.training)


def read_as(dataset: Dataset, reading: Reading) -> Dataset:
    """The data set with the same way of reading for every case; colours that its labels have stay if it names none."""

    def chosen(cases: tuple[Case, ...]) -> tuple[Case, ...]:
        return tuple(
            case.model_copy(update={"reading": reading.model_copy(update={"label_colours": colours})})
            for case in cases
            for colours in [reading.label_colours or case.reading.label_colours]
        )

    return dataset.model_copy(update={"training": chosen(dataset.training), "unlabelled": chosen(dataset.unlabelled)})

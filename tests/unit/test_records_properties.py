"""Records go to JSON and come back equal, whatever they hold; what a record does not know is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import IntensityStatistics
from autoseg.data.labels import LabelScheme
from autoseg.errors import AutosegError
from autoseg.fingerprint.record import CaseFingerprint, Fingerprint
from autoseg.plan.record import ConfigurationPlan, Plan, SamplerPlan, TransformPlan
from autoseg.records import Record
from autoseg.training.config import FineTuningConfig, OptimizerConfig, ScheduleConfig, TrainingConfig

NAMES = st.text(min_size=1, max_size=8)
COUNTS = st.integers(0, 2**40)
SHARES = st.floats(0, 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)  # JSON knows no others
POSITIVE = st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False)
INSIDE = st.floats(0.01, 0.99)
SCALARS = st.none() | st.booleans() | COUNTS | NUMBERS | NAMES
VALUES = SCALARS | st.lists(SCALARS, max_size=2)  # of options, which records take as they are
OPTIONS = st.dictionaries(NAMES, VALUES, max_size=2)
PATHS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6), min_size=1,
                 max_size=3).map(lambda parts: Path(*parts))  # fmt: skip


def several(strategy: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


def triple(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any, Any]]:
    return st.tuples(strategy, strategy, strategy)


STATISTICS = st.builds(IntensityStatistics, **{field.name: NUMBERS for field in fields(IntensityStatistics)})
SCHEMES = st.builds(
    LabelScheme,
    names=st.dictionaries(NAMES, COUNTS, max_size=3),
    regions=st.dictionaries(NAMES, several(COUNTS), max_size=2),
    region_order=several(COUNTS),
    ignore=st.none() | COUNTS,
)
TRANSFORMS = st.builds(TransformPlan, name=NAMES, probability=SHARES, options=OPTIONS)
SAMPLERS = st.builds(
    SamplerPlan, name=NAMES, foreground_fraction=SHARES, class_weights=st.dictionaries(NAMES, NUMBERS, max_size=2)
)


@st.composite
def configurations(draw: st.DrawFn) -> ConfigurationPlan:
    """A network of some stages whose sizes fit each other."""
    dimension, stages, channels = draw(st.integers(2, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 2))

    def a_stage(strategy: st.SearchStrategy[Any], count: int = stages) -> tuple[Any, ...]:
        return draw(st.lists(strategy, min_size=count, max_size=count).map(tuple))

    along = st.tuples(*[st.integers(1, 3)] * dimension)
    strides = a_stage(along)
    return ConfigurationPlan(
        spacing=draw(st.tuples(*[POSITIVE] * dimension)),
        median_shape=draw(st.tuples(*[POSITIVE] * dimension)),
        patch_size=tuple(
            draw(st.integers(1, 9)) * prod(stride[axis] for stride in strides) for axis in range(dimension)
        ),
        batch_size=draw(st.integers(1, 99)),
        network=draw(NAMES),
        strides=strides,
        kernel_sizes=a_stage(along),
        features_per_stage=a_stage(st.integers(1, 999)),
        blocks_per_stage=a_stage(st.integers(1, 9)),
        decoder_blocks_per_stage=a_stage(st.integers(1, 9), stages - 1),
        normalization=a_stage(NAMES, channels),
        use_mask_for_norm=a_stage(st.booleans(), channels),
        batch_dice=draw(st.booleans()),
        deep_supervision=draw(st.booleans()),
        sampler=draw(SAMPLERS),
        augmentation=draw(several(TRANSFORMS)),
        mirror_axes=draw(several(st.integers(0, 2))),
        previous_stage=draw(st.none() | NAMES),
        next_stage=draw(st.none() | NAMES),
        options=draw(OPTIONS),
    )


PLANS = st.builds(
    Plan,
    dataset=NAMES,
    planner=NAMES,
    task=NAMES,
    channels=several(NAMES),
    labels=SCHEMES,
    dimension=st.integers(2, 3),
    transpose_forward=st.permutations(range(3)).map(tuple),
    intensities=several(STATISTICS),
    file_ending=NAMES,
    configurations=st.dictionaries(NAMES, configurations(), max_size=2),
    warnings=several(NAMES),
)
CASES = st.builds(
    CaseFingerprint,
    id=NAMES,
    shape=triple(COUNTS),
    spacing=triple(NUMBERS),
    crop_box=triple(st.tuples(COUNTS, COUNTS)),
    relative_size=NUMBERS,
    intensities=several(st.none() | STATISTICS),
    class_voxels=st.dictionaries(NAMES, COUNTS, max_size=2),
    class_volumes=st.dictionaries(NAMES, NUMBERS, max_size=2),
    left_right_axis=st.none() | st.integers(0, 2),
)
FINGERPRINTS = st.builds(
    Fingerprint,
    name=NAMES,
    dimension=st.integers(2, 3),
    channels=several(NAMES),
    outputs=COUNTS,
    labels_with_background=COUNTS,
    intensities=several(STATISTICS),
    cases=several(CASES),
    median_relative_size=NUMBERS,
    warnings=several(NAMES),
)
CONFIGS = st.builds(
    TrainingConfig,
    steps=st.none() | st.integers(1, 10**9),
    seconds=st.none() | POSITIVE,
    seed=COUNTS,
    optimizer=st.none()
    | st.builds(
        OptimizerConfig,
        name=st.sampled_from(("sgd", "adamw")),
        learning_rate=st.none() | POSITIVE,
        momentum=INSIDE,
        weight_decay=SHARES,
    )
    | st.sampled_from(("sgd", "adamw")),
    schedule=st.none()
    | st.builds(ScheduleConfig, name=st.sampled_from(("polynomial", "cosine")), power=POSITIVE, warm_up=INSIDE),
    fine_tuning=st.none()
    | st.builds(FineTuningConfig, name=st.sampled_from(("usual", "warm-up", "sawtooth")), decoder_first=INSIDE,
                warm_up=INSIDE, encoder_rate=SHARES),
    foreground_share=INSIDE,
    losses=st.dictionaries(NAMES, POSITIVE, max_size=2) | NAMES,
    batch_dice=st.none() | st.booleans(),
    deep_supervision=st.none() | st.booleans(),
    sampler=st.none() | SAMPLERS,
    mirror_axes=st.none() | st.text("zyx", max_size=3) | st.just("none"),
    augmentation_on=st.sampled_from(("auto", "workers", "device")),
    accumulation=st.integers(1, 99),
    gradient_clip=POSITIVE,
    ema_decay=st.none() | INSIDE,
    patience=st.none() | st.integers(1, 99),
    round_steps=st.none() | st.integers(1, 99),
    validation_share=SHARES,
    stop_after=st.none() | st.integers(1, 99),
    options=OPTIONS,
)  # fmt: skip
DATASETS = st.builds(
    Dataset,
    name=NAMES,
    folder=PATHS,
    layout=NAMES,
    channels=several(NAMES),
    labels=SCHEMES,
    file_ending=NAMES,
    label_ending=NAMES,
    training=several(st.builds(Case, id=NAMES, images=several(PATHS), label=st.none() | PATHS)),
    unlabelled=several(st.builds(Case, id=NAMES, images=several(PATHS))),
    ignored=several(PATHS),
    warnings=several(NAMES),
    unmatched_images=several(PATHS),
    unmatched_labels=several(PATHS),
    missing_files=several(PATHS),
    missing_channels=st.dictionaries(NAMES, several(NAMES), max_size=2),
)
RECORDS = {"plan": PLANS, "fingerprint": FINGERPRINTS, "training": CONFIGS, "dataset": DATASETS}
KINDS = pytest.mark.parametrize("kind", RECORDS)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where records stand in a record, itself first."""
    if isinstance(value, Record) or is_dataclass(value):
        yield path
        names = type(value).model_fields if isinstance(value, Record) else [field.name for field in fields(value)]
        for name in names:
            yield from places(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from places(inner, (*path, number))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))


@KINDS
@settings(max_examples=20)  # large records take time to draw
@given(data=st.data())
def test_a_record_comes_back_from_its_file_as_it_was(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    record = data.draw(RECORDS[kind])
    path = tmp_path / f"{kind}.json"
    record.save(path)
    read = type(record).load(path)
    assert read == record
    assert read.with_() == record
    read.save(path)
    assert json.loads(path.read_text(encoding="utf-8")) == record.model_dump(mode="json")


@KINDS
@settings(max_examples=20)
@given(data=st.data())
def test_a_field_that_a_record_does_not_know_is_refused_by_its_place(kind: str, data: st.DataObject) -> None:
    record = data.draw(RECORDS[kind])
    place = data.draw(st.sampled_from(list(places(record))))
    values = json.loads(json.dumps(record.model_dump(mode="json")))
    inner = values
    for part in place:
        inner = inner[part]
    name = data.draw(st.sampled_from(sorted(inner))) + "_"
    inner[name] = 1
    with pytest.raises(AutosegError, match="unknown field") as caught:
        type(record).from_mapping(values, where="file.json")
    assert f"file.json: {'.'.join(map(str, (*place, name)))}: unknown field" in str(caught.value)
    assert f"did you mean {name[:-1]!r}?" in str(caught.value)


@KINDS
@settings(max_examples=20)
@given(data=st.data())
def test_a_field_that_is_needed_and_missing_is_named(kind: str, data: st.DataObject) -> None:
    record = data.draw(RECORDS[kind])
    needed = [name for name, field in type(record).model_fields.items() if field.is_required()]
    values = json.loads(json.dumps(record.model_dump(mode="json")))
    if not needed:
        assert type(record).from_mapping({}) == type(record)()
        return
    name = data.draw(st.sampled_from(needed))
    del values[name]
    with pytest.raises(AutosegError, match="a field is missing") as caught:
        type(record).from_mapping(values, where="file.json")
    assert f"file.json: {name}" in str(caught.value)

"""Work on the cases of a data set: what is left of it, and in how many processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.discovery import discover
from autoseg.data.files import write_image, write_labels
from autoseg.data.image import Geometry, Image
from autoseg.errors import ConfigurationError
from autoseg.tasks.registration.methods import RegistrationOptions
from autoseg.tasks.registration.pipeline.request import RegistrationRequest, SubjectsRequest
from autoseg.tasks.registration.pipeline.subjects import SubjectsWork, processes_for


@dataclass(frozen=True)
class Job:
    result: Path


def write(job: Job) -> str:
    job.result.write_text("new", encoding="utf-8")
    return job.result.name


@pytest.fixture
def work(tmp_path: Path) -> SubjectsWork:
    for name in "ab":
        write_image(tmp_path / "images" / f"{name}.nii.gz", Image(np.zeros((1, 4, 4, 4), np.float32), Geometry()))
        write_labels(tmp_path / "labels" / f"{name}.nii.gz", np.ones((4, 4, 4), np.uint8), Geometry())
    request = SubjectsRequest(RegistrationRequest("own", seed=3, device="cpu"), workers=1)
    return SubjectsWork.of(discover(tmp_path), tmp_path / "out", request)


def test_only_jobs_without_a_result_are_done(work: SubjectsWork, tmp_path: Path) -> None:
    jobs = [Job(tmp_path / name) for name in ("one", "two", "three")]
    jobs[1].result.write_text("old", encoding="utf-8")
    assert list(work.run(write, jobs, "jobs")) == ["one", "three"]
    assert jobs[1].result.read_text(encoding="utf-8") == "old"
    assert list(work.run(write, jobs, "jobs")) == []


def test_what_decides_the_result_is_named(work: SubjectsWork, tmp_path: Path) -> None:
    expected = {"dataset": str(tmp_path), "method": "own", "options": RegistrationOptions(), "seed": 3}
    assert work.choices == expected
    assert replace(work, workers=7).choices == expected, "how many processes there are decides nothing"


def test_an_accelerator_has_one_process() -> None:
    assert processes_for("cuda:0", 8) == 1
    assert processes_for("cpu", 3) == 3
    assert processes_for("cpu", 0) == 1
    assert processes_for("cpu", None) >= 1


def test_a_device_that_is_not_here_is_refused(work: SubjectsWork) -> None:
    with pytest.raises(ConfigurationError, match="not available"):
        SubjectsWork.of(work.data, work.out, SubjectsRequest(RegistrationRequest(device="tpu")))

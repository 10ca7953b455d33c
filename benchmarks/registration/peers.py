"""Other registration tools, each in a process of an environment of its own, limited to one thread."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from autoseg.tasks.registration.space import Grid
from autoseg.tasks.registration.transforms import Displacement

PEERS = (
    "simpleitk-affine", "simpleitk-demons", "elastix-affine", "elastix-bspline", "ants-affine", "ants-syn",
    "ants-syn-cc", "greedy-affine", "greedy", "convexadam",
)  # fmt: skip
"""Names in `peer_worker.METHODS`, which this environment cannot import."""

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "ANTS_RANDOM_SEED": "1",
}
"""One thread, and the same samples in every run."""

_WORKER = Path(__file__).resolve().parent / "peer_worker.py"


class PeerMissing(RuntimeError):
    """The environment lacks what a tool needs; the message says what."""


class PeerFailed(RuntimeError):
    """A tool did not register a pair."""


@dataclass(frozen=True, eq=False)
class Registered:
    """What a method made of a pair.

    Attributes:
        transform: displacement in mm of the fixed image's voxels.
        seconds, cpu_seconds: of the fit alone.
    """

    transform: Displacement
    seconds: float
    cpu_seconds: float


class Peer:
    """A running worker; a context manager.

    Args:
        python: interpreter of the tools' environment.
        method: one of `PEERS`.
        log: gets all that the tool prints.

    Raises:
        PeerMissing: on entry, if the tool is not installed.
    """

    def __init__(self, python: Path, method: str, log: Path) -> None:
        self._command = [str(python), str(_WORKER), method]
        self._log = log
        self.versions = ""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder.name,
                env={**os.environ, **WORKER_ENVIRONMENT},
            )
        first = self._answer()
        if "missing" in first:
            self.__exit__(None, None, None)
            raise PeerMissing(first["missing"])
        self.versions = first["ready"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # the worker ends when nothing more can come
        if error is not None:
            self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def register(self, fixed: np.ndarray, moving: np.ndarray, fixed_grid: Grid, moving_grid: Grid) -> Registered:
        """Registers a pair whose grids have the world's axes.

        Args:
            fixed, moving: (*S) float32 on their grids.

        Returns:
            The displacement of `fixed_grid`'s voxels.

        Raises:
            PeerFailed: the tool gave up or died.
        """
        folder = Path(self._folder.name)
        for name, array, grid in (("fixed", fixed, fixed_grid), ("moving", moving, moving_grid)):
            np.savez(folder / f"{name}.npz", array=array.astype(np.float32), spacing=np.array(grid.spacing))
        answer = self._ask({name: str(folder / f"{name}.npz") for name in ("fixed", "moving", "out")})
        with np.load(folder / "out.npz") as file:
            field = torch.from_numpy(file["field"].astype(np.float32))
        # The tool saw both first voxels at the origin.
        shift = torch.tensor(moving_grid.origin) - torch.tensor(fixed_grid.origin)
        moved = field + shift.to(field).reshape(-1, *[1] * fixed_grid.dimension)
        return Registered(Displacement(fixed_grid, moved), answer["seconds"], answer["cpu_seconds"])

    def _ask(self, request: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerFailed(f"the tool has ended, see {self._log}") from error
        answer = self._answer()
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerFailed(f"the tool ended with {self._process.wait()}, see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

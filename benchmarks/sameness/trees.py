"""A checkout of the project, run by its command line in processes that see no other."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("autoseg", "planners", "datasets_spec")
"""What must come from the checkout."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Sums depend on the number of threads, and with one the two versions run beside each other on two cores."""

LIMIT = 900.0
"""Seconds after which a command is ended."""

_TAIL = 12  # lines of output that tell why a command failed


class CommandFailed(Exception):
    """A command ended with another exit code than expected, or too late; the message ends with its last output."""


@dataclass(frozen=True)
class Tree:
    """A version of the project and where its results go.

    Attributes:
        name: "old" or "new".
        checkout: folder that holds the packages.
        results: folder of the results, one folder per part.
    """

    name: str
    checkout: Path
    results: Path

    def check(self) -> None:
        """Makes sure that Python finds the packages in the checkout.

        Raises:
            CommandFailed: one of them is found elsewhere, or not at all.
        """
        code = "import importlib, sys\nfor n in sys.argv[1:]: print(importlib.import_module(n).__path__[0])"
        log = self.results / "packages.log"
        log.unlink(missing_ok=True)
        self._call([sys.executable, "-c", code, *PACKAGES], log, exit_codes=(0,))
        for name, line in zip(PACKAGES, log.read_text(encoding="utf-8").splitlines(), strict=True):
            if Path(line).resolve() != (self.checkout / name).resolve():
                raise CommandFailed(f"{self.checkout}: Python takes {name} from {line}")

    def autoseg(self, words: Sequence[str], log: Path, *, ranks: int = 1, exit_codes: tuple[int, ...] = (0,)) -> None:
        """Runs a command of the project and appends what it writes to `log`.

        Args:
            words: the command line behind `autoseg`.
            log: file for standard output and error.
            ranks: processes that torchrun starts; 1 does without it.
            exit_codes: those that are right.

        Raises:
            CommandFailed: it ended with another exit code, or after more than `LIMIT` seconds.
        """
        start = [sys.executable]
        if ranks > 1:
            start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        self._call([*start, "-m", "autoseg", *words], log, exit_codes=exit_codes)

    def _call(self, command: Sequence[str], log: Path, *, exit_codes: tuple[int, ...]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            **ONE_THREAD,
            "PYTHONPATH": str(self.checkout),
            "PYTHONPYCACHEPREFIX": str(self.results / "pycache"),  # leaves nothing in the checkout
            "CUDA_VISIBLE_DEVICES": "",
            "COLUMNS": "120",
        }
        with log.open("a", encoding="utf-8") as output:
            # Python looks for packages in the folder that it is started in first: that one has none
            process = subprocess.Popen(
                command, cwd=self.results, env=environment, stdout=output, stderr=output, start_new_session=True
            )
            try:
                code: int | str = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                code = f"more than {LIMIT:.0f} s"
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # whatever it left running
                process.wait()
        if code not in exit_codes:
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
            raise CommandFailed("\n".join([f"{' '.join(command[1:])}", f"ended with {code}; its last output:", *tail]))


def digest_of(checkout: Path) -> str:
    """A digest of all files of the packages in a checkout, whether they are committed or not."""
    digest = hashlib.sha256()
    for name in PACKAGES:
        for path in sorted((checkout / name).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path.relative_to(checkout)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()

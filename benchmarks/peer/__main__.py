"""autoseg beside nnU-Net v2 on this machine, in turns, several times; prints a table and writes two pages.

    make benchmark-peer DATA=... [MODEL=... PREDICTIONS=... PLANS=...] [BENCHMARK_OPTIONS="--sections ..."]
    python -m benchmarks.peer --peer-python PYTHON [options]

PYTHON is the interpreter of an environment in which nnU-Net v2 is installed (`make benchmark-peer` makes one). Without
--data a small phantom data set is made and used. Each section's figures are kept as JSON in WORK/results, so that a
run can be cut into several; the pages show the latest figures of every section that was ever measured in WORK.
Exit code 1 if a row that asks for a ratio falls short or a section fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path

from autoseg.data.phantom import PhantomOptions, write_phantom
from benchmarks.peer.context import Context
from benchmarks.peer.machine import describe_machine, measure_peaks
from benchmarks.peer.programs import ROOT, ProgramFailed
from benchmarks.peer.render import benchmarks_page, performance_page, printed
from benchmarks.peer.table import SECTIONS, kept_sections, measure_section


def main() -> int:
    """Runs the sections that are asked for; returns the exit code."""
    options = _arguments()
    work = options.work.resolve()
    cores = options.cores or len(os.sched_getaffinity(0))
    context = Context(
        python=Path(sys.executable),
        peer_python=options.peer_python.absolute(),
        data=options.data.resolve() if options.data else _phantom(work),
        model=options.model.resolve() if options.model else None,
        predictions=options.predictions.resolve() if options.predictions else None,
        plans=options.plans.resolve() if options.plans else None,
        work=work,
        repeats=options.repeats,
        cores=cores,
        minutes=options.minutes,
        peaks=measure_peaks(cores),
    )
    machine = describe_machine(context.peer_python, context.peaks)
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    failed = []
    for name in options.sections:
        print(f"\n== {name}", flush=True)
        try:
            print(printed(measure_section(name, context, machine)), flush=True)
        except (ProgramFailed, OSError, ValueError, RuntimeError):
            # One section's failure must not cost the hours of the others; it is shown and makes the exit code 1.
            traceback.print_exc()
            failed.append(name)
    found = kept_sections(work)
    if options.pages:
        options.pages.mkdir(parents=True, exist_ok=True)
        (options.pages / "benchmarks.md").write_text(benchmarks_page(found), encoding="utf-8")
        (options.pages / "performance.md").write_text(performance_page(found), encoding="utf-8")
        print(f"\nwrote {options.pages / 'benchmarks.md'} and performance.md")
    short = [f"{one.name}: {row.setting}" for one in found for row in one.section.rows if row.met is False]
    for line in short:
        print(f"falls short: {line}")
    for name in failed:
        print(f"failed: {name}")
    return 1 if short or failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", type=Path, required=True, help="python of an environment with nnU-Net v2")
    parser.add_argument("--data", type=Path, help="data set folder, e.g. Task04_Hippocampus; none: a phantom")
    parser.add_argument("--model", type=Path, help="nnU-Net's result folder of a model trained on the data")
    parser.add_argument("--predictions", type=Path, help="nnU-Net's predictions of the model's validation cases")
    parser.add_argument("--plans", type=Path, help="folder of reference plans with fingerprints (*.json)")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "benchmark-peer", help="default: %(default)s")
    parser.add_argument("--pages", type=Path, help="folder for benchmarks.md and performance.md; none: not written")
    parser.add_argument("--sections", type=_sections, default=SECTIONS, help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--repeats", type=int, default=3, help="how often either side runs (default: %(default)s)")
    parser.add_argument("--cores", type=int, help="processes or threads of either side; default: all")
    parser.add_argument("--minutes", type=float, default=20, help="of either side in quality (default: %(default)s)")
    return parser.parse_args()


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return names


def _phantom(work: Path) -> Path:
    folder = work / "phantom"
    if not folder.exists():
        write_phantom(folder.with_name("phantom.part"), PhantomOptions()).rename(folder)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())

"""``python -m tests.benchmarks NAME [--quick] [--json] [--seed N]``: one entry point for every benchmark.

The exit status is 0 only where all goals hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from tests.benchmarks import drift, extraction, ood, pipeline
from tests.benchmarks.report import Report

BENCHMARKS: dict[str, Callable[[bool, int], Report]] = {
    "drift": drift.run,
    "extraction": extraction.run,
    "ood": ood.run,
    "pipeline": pipeline.run,
}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="under a minute, coarser figures")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    chosen = parser().parse_args(arguments)
    with threadpool_limits(1):
        report = BENCHMARKS[chosen.name](chosen.quick, chosen.seed)
    print(json.dumps(report.to_json(), indent=2) if chosen.json else report.to_text())
    return 0 if all(goal.holds for goal in report.goals) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

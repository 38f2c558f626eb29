"""One corner of the extraction benchmark at a time; see the package's text."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

from tests.benchmarks.extraction import run_plan
from tests.benchmarks.extraction.attacks import ATTACKS
from tests.benchmarks.extraction.measure import SECTIONS
from tests.benchmarks.extraction.plan import FULL, QUICK, WORLDS
from tests.benchmarks.extraction.worlds import VISIBILITIES


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.extraction")
    parser.add_argument("--worlds", nargs="+", choices=sorted(WORLDS))
    parser.add_argument("--visibilities", nargs="+", choices=VISIBILITIES)
    parser.add_argument("--attacks", nargs="+", choices=sorted(ATTACKS))
    parser.add_argument("--shares", nargs="+", type=float)
    parser.add_argument("--honest", type=int, help="honest clients a world, at every visibility")
    parser.add_argument("--thieves", type=int, help="thieves a cell, at every visibility")
    parser.add_argument("--walks", type=int, help="evasion walks of each kind")
    parser.add_argument("--campaigns", type=int, help="Sybil campaigns of each attack and crowd")
    parser.add_argument("--references", type=int)
    parser.add_argument("--reference", type=int, help="clients in a reference")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=["honest", "found"])
    parser.add_argument("--full", action="store_true", help="start from the full plan, not the quick one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def main(arguments: list[str]) -> int:
    chosen = parser().parse_args(arguments)
    plan = FULL if chosen.full else QUICK
    for name in ("worlds", "visibilities", "attacks", "shares"):
        if getattr(chosen, name):
            plan = replace(plan, **{name: tuple(getattr(chosen, name))})
    for name in ("honest", "thieves"):
        value = getattr(chosen, name)
        if value is not None:
            plan = replace(plan, **{name: value, f"{name}_aside": value})
    for name in ("reference", "references", "walks", "campaigns"):
        if getattr(chosen, name) is not None:
            plan = replace(plan, **{name: getattr(chosen, name)})
    report = run_plan(plan, tuple(chosen.sections), chosen.seed)
    print(json.dumps(report.to_json(), indent=2) if chosen.json else report.to_text())
    return 0 if all(goal.holds for goal in report.goals) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

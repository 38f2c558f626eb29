"""Extraction: who is accused among honest clients, how soon thieves are found, and what others would have found.

``python -m tests.benchmarks extraction [--quick] [--seed N]`` is the whole of it. For one corner at a time:

    python -m tests.benchmarks.extraction --worlds digits --visibilities scores --attacks "jbda .1" uniform \\
        --shares 1 .25 --honest 600 --thieves 8 --sections honest found [--full]

worlds.py                           what a model service is; images.py, flights.py, tumours.py: those that are asked
honest.py, crawlers.py              the sorts of honest client; honest clients whose queries crawl as a walk's do
attacks.py, surrogate.py, sybil.py  thieves, their copies, and thieves behind many accounts
traffic.py, rates.py                streams; what the detector makes of them: honest clients accused, thieves found
baselines.py, supervised.py         PRADA, SEAT, MMD, HODA; a classifier that was told which queries are attacks
compare.py                          all of them at the share of honest clients that ours accuses
walks.py, evasion.py                attacks that feel their way along the answers, and what the detector finds of them
exposure.py, cost.py                the meter beside real copies, a client's own past; time and bytes
measure.py, tables.py               one world from reference to figures and goals; plan.py, figures.py: sizes, intervals
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.benchmarks.extraction.figures import Section
from tests.benchmarks.extraction.measure import SECTIONS, measure
from tests.benchmarks.extraction.plan import FULL, QUICK, Plan
from tests.benchmarks.extraction.tables import whole_section
from tests.benchmarks.report import Report

__all__ = ["run", "run_plan"]


def run(quick: bool, seed: int) -> Report:
    """Every section on every world of the plan."""
    return run_plan(QUICK if quick else FULL, SECTIONS, seed)


def run_plan(plan: Plan, sections: tuple[str, ...], seed: int) -> Report:
    """The chosen sections, a world a process; the seed fixes every figure but times."""
    began = time.perf_counter()
    workers = min(len(plan.worlds), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        running = [pool.submit(measure, name, plan, sections, seed) for name in plan.worlds]
        for job in as_completed(running):
            done = job.result()
            print(Report("extraction, so far", done.figures, done.goals).to_text(), file=sys.stderr, flush=True)
    whole = sum((job.result() for job in running), Section())
    whole += whole_section(whole.figures)
    whole.figures["seconds for all of this"] = time.perf_counter() - began
    return Report("extraction", whole.figures, whole.goals)

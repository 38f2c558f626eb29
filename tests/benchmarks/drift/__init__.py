"""Drift: false alarms against the budget, delays at matched false-alarm rates, real traffic, and speed.

run_length.py   false alarms over budget: covering grid, dependence, 30 mixed columns
delay.py        events from change to alarm, beside river's detectors, windowed KS and CUSUMs
flights.py      flights out of New York: first quarter as reference, the rest as stream
speed.py        CPU time of both halves, beside other detectors
joint.py        joint changes: correlations, all columns a little; beside a sliding MMD
peers.py, charts.py, streams.py, watched.py, figures.py: what they share
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from detectors.drift.joint import JointDrift
from tests.benchmarks.drift import delay, flights, joint, run_length, speed
from tests.benchmarks.drift.figures import Section
from tests.benchmarks.report import Report

__all__ = ["run"]


@dataclass(frozen=True)
class Job:
    """One piece of the report that runs by itself."""

    make: Callable[..., Section]
    arguments: tuple

    def __call__(self) -> Section:
        return self.make(*self.arguments)


def run(quick: bool, seed: int) -> Report:
    """All sections, spread over the machine's cores; the seed fixes every figure but times."""
    began = time.perf_counter()
    sections = [speed.section(quick, seed)]
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=multiprocessing.get_context("fork")) as pool:
        running = [pool.submit(job) for job in _jobs(quick, seed)]
        for job in as_completed(running):
            print(
                Report("drift, so far", job.result().figures, job.result().goals).to_text(), file=sys.stderr, flush=True
            )
        sections += [job.result() for job in running]
    whole = sum(sections[1:], sections[0])
    whole.figures["seconds for all of this"] = time.perf_counter() - began
    return Report("drift", whole.figures, whole.goals)


def _jobs(quick: bool, seed: int) -> list[Job]:
    """The figures of table D.6, the grid of false alarms, then the rest: what is cut short has lost the least."""
    if quick:
        first = [
            Job(delay.one_column_section, (500, delay.QUICK_CHANGES, delay.QUICK, seed)),
            Job(delay.usual_section, (delay.USUAL_CHANGES[1:3], 8, 0, seed)),
            Job(delay.wide_section, (0.5, 3, 6, seed)),
            Job(joint.section, (JointDrift, joint.JOINT_CHANGES[1:2], 3, 6, 200, seed)),
        ]
        cells, looks, mixed, last = run_length.quick_cells(), (1,), [(0.5, 1)], []
    else:
        first = [
            Job(joint.section, (JointDrift, joint.JOINT_CHANGES, 40, 40, 800, seed)),
            Job(delay.one_column_section, (500, delay.CHANGES, delay.FULL, seed)),
        ]
        cells, looks = run_length.full_cells(), run_length.LOOKS
        mixed = [(phi, 40) for phi in (0.0, 0.5, 0.9)]
        last = [Job(delay.wide_section, (rho, 20, 80, seed)) for rho in (0.0, 0.5, 0.95)]
        last += [Job(delay.usual_section, (delay.USUAL_CHANGES, 20, 300_000, seed))]
        last += [Job(delay.one_column_section, (500, delay.CATEGORICAL_CHANGES, delay.HALF, seed))]
        last += [Job(delay.one_column_section, (500, delay.OTHER_CHANGES, delay.HALF, seed))]
        last += [Job(delay.defaults_section, (500, delay.HALF, seed))]
        last += [Job(delay.one_column_section, (2_000, delay.CHANGES, delay.HALF, seed))]
    rising = sorted(cells, key=lambda item: item[0].columns * item[0].per_pane * item[0].bound * item[1])
    grid = [Job(run_length.section, (cell, allowed, looks, seed)) for cell, allowed in rising]
    traffic = [Job(flights.section, (quick,))]
    traffic += [Job(run_length.mixed_section, (phi, weeks, seed)) for phi, weeks in mixed]
    return [*first, *grid, *traffic, *last]

"""Which attack an alarm names, from what a client's queries look like."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from detectors.clients.techniques import Family
from detectors.extraction.channels import EDGES
from detectors.extraction.families import family
from detectors.extraction.layout import COUNTS, Sums, row_at
from detectors.extraction.verdict import Beside, LogP

NAMES = (
    "features.distance",
    "features.residual",
    "embedding.residual",
    "features.centroid",
    "categories",
    "grain",
    "likeness",
    "margin",
)
CHANNELS = SimpleNamespace(names=NAMES)


def named(
    counts: dict[str, float] | None = None,
    exposure: float = 0.0,
    apart: float = 0.0,
    stamped: float = 0.0,
    **rarer: float,
) -> Family:
    """The family of a client whose share ``rarer`` of queries is rarer than 1 in 100, or harder than 1 in 4.

    ``exposure``, ``apart`` and ``stamped`` are logs of the p-values of H6, H10 and H11.
    """
    row = np.zeros((len(NAMES), len(EDGES)))
    for name, share in rarer.items():
        edge = 0.25 if name == "margin" else 0.01
        views = [i for i, channel in enumerate(NAMES) if channel.rpartition(".")[2] == name]
        row[views[-1], np.flatnonzero(edge == EDGES)] = share - edge
    vector = np.zeros(row_at(1) + row.size)
    for name, count in ({"events": 100, "compared": 100, "fresh": 100} | (counts or {})).items():
        vector[COUNTS.index(name)] = count
    vector[row_at(1) :] = 100 * row.ravel()
    log_p, beside = LogP(0.0, -4.0, 0.0, 0.0, apart, stamped), Beside(exposure=exposure)
    finding = SimpleNamespace(sums=Sums(vector, 1), itself=0.0, beside=beside, log_p=log_p)
    return family(finding, CHANNELS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("looks", "kind"),
    [
        ({"likeness": 0.75, "centroid": 0.08}, Family.NATURAL),
        ({"residual": 1.0, "likeness": 0.9, "categories": 1.0}, Family.NATURAL),
        ({"residual": 0.95, "likeness": 0.95, "distance": 0.4, "categories": 0.2}, Family.RANDOM),
        ({"residual": 0.36, "likeness": 0.8, "centroid": 0.95}, Family.RANDOM),
        ({"residual": 0.75, "likeness": 0.2, "centroid": 0.6}, Family.SYNTHETIC),
        ({"grain": 0.9, "likeness": 0.2, "distance": 0.3}, Family.SYNTHETIC),
        ({"grain": 1.0, "likeness": 0.9, "distance": 0.8}, Family.RANDOM),
        ({"margin": 0.6, "distance": 0.04}, Family.UNCERTAINTY),
        ({"margin": 0.6, "residual": 0.8, "likeness": 0.8}, Family.RANDOM),
        ({"margin": 0.3, "distance": 0.02}, Family.UNCLEAR),
    ],
)
def test_strange_queries_are_told_by_what_is_strange_about_them(looks: dict[str, float], kind: Family) -> None:
    assert named(**looks) is kind


def test_queries_close_to_earlier_ones_are_perturbed_or_walk_the_boundary() -> None:
    assert named({"near": 20, "close": 30}) is Family.SYNTHETIC
    assert named({"near": 20, "close": 30}, margin=0.8) is Family.BOUNDARY
    assert named({"near": 35, "close": 20}, likeness=0.75) is Family.NATURAL, "foreign inputs are like one another too"
    assert named({"near": 2, "close": 4}) is Family.UNCLEAR, "as near as honest queries are"


def test_queries_that_keep_apart_are_diverse_unless_something_else_says_more() -> None:
    assert named(apart=-9.0, distance=0.1) is Family.DIVERSE
    assert named(apart=-3.0) is Family.UNCLEAR
    assert named(apart=-9.0, residual=0.95, likeness=0.95) is Family.RANDOM


def test_steps_of_one_size_are_perturbations_unless_the_queries_look_made_up() -> None:
    assert named(stamped=-9.0) is Family.SYNTHETIC
    assert named(stamped=-9.0, margin=0.8) is Family.SYNTHETIC
    assert named(stamped=-3.0) is Family.UNCLEAR
    assert named(stamped=-9.0, residual=0.95, likeness=0.95) is Family.RANDOM


def test_ordinary_queries_that_copy_too_well_are_natural() -> None:
    assert named(exposure=-6.0) is Family.NATURAL

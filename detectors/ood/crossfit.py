"""Cross-fitting: sources, and scores of every reference row by sources that did not learn from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.batch import FloatArray
from detectors.ood.base import Component, Learning, Source
from detectors.ood.folds import assign_folds
from detectors.ood.head import Head
from detectors.ood.inputs import Inputs, of_width, usual_width
from detectors.ood.sources import SOURCES

FEW = 2_000


def layout(sources: Sequence[Source]) -> list[tuple[int, Component]]:
    return [(at, component) for at, source in enumerate(sources) for component in source.components()]


def _kinds(inputs: Inputs) -> tuple[type[Source], ...]:
    """Every source worth learning: probabilities only where logits do not already say it all."""
    if inputs.logits is None or float(np.isnan(inputs.logits[:, 0]).mean()) > 0.1:
        return SOURCES
    return tuple(kind for kind in SOURCES if kind.name != "probabilities")


def check_head(head: Head, inputs: Inputs) -> None:
    width = 0 if inputs.embedding is None else usual_width(inputs.embedding)
    vectors, good = of_width(inputs.embedding, width, len(inputs))
    if not good.any():
        raise ValueError("the reference logs no embedding for the head to work on")
    logits, known = of_width(inputs.logits, 0 if inputs.logits is None else usual_width(inputs.logits), len(inputs))
    both = good & known
    head.check(vectors[both if both.any() else good], logits[both] if both.any() and logits.shape[1] else None)


def cross_fit(inputs: Inputs, learning: Learning) -> tuple[tuple[Source, ...], FloatArray]:
    """Sources, and scores (n, c) of every reference row by sources that did not learn from it.

    The sources kept are those of the first fold: they know as many rows as the ones that scored the held-out rows, so
    a new event's scores come from the same distribution. Sources that knew every row would place it a little nearer.
    """
    k = 10 if len(inputs) < FEW else 5
    fold = assign_folds(inputs, k, learning.rng)
    kept = _learn(_kinds(inputs), inputs.take(fold != 0), learning)
    raw = np.full((len(inputs), len(layout(kept))), np.nan)
    for held in range(k):
        own = np.flatnonzero(fold == held)
        rest = inputs.take(fold != held)
        at = 0
        for source in kept:
            learned = source if held == 0 else type(source).learn(rest, learning)
            columns = slice(at, at + len(source.components()))
            if learned is not None and own.size and learned.components() == source.components():
                raw[own, columns] = learned.scores(inputs.take(own))
            at = columns.stop
    return kept, raw


def _learn(kinds: Sequence[type[Source]], inputs: Inputs, learning: Learning) -> tuple[Source, ...]:
    learned = [kind.learn(inputs, learning) for kind in kinds]
    return tuple(source for source in learned if source is not None)

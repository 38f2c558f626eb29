"""Tally: where each count sits in a client's int64 vector, and what one event adds to it.

Everything is a plain count of events, so that sums are exact. Answers and moves are counted as a two-by-two table each:
what the last try had brought, and whether the client then went on from it or back. How steeply a client moves after
mirrored tries is counted in thousandths of a nat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.mirrors import DESCENT, MIRRORED
from detectors.clients.rings import NEAREST_RECENT, Code
from detectors.clients.walks import CHAIN, FLIP, GAP, TRIED, TURN, WENT_ON, Tried

LENGTHS = (4, 8, 16, 32, 64, 128)
"""Chain lengths that are counted apart."""
TIGHT = 0.3
"""Steps shorter than this part of the walk limit are counted apart: the shorter a step, the rarer an honest flip."""
STRAIGHT = 0.8
"""A cosine beyond this, either way, is a step along the line of the last one."""
TURNS = 10
MOST_NATS = 6.0
"""A move is never called rarer: one alone must not accuse."""
COUNTS = (
    "events",
    "exact",
    "compared",
    "steps",
    "chains",
    "labelled",
    "flips",
    "tight_labelled",
    "tight_flips",
    "fell_on",
    "fell_back",
    "rose_on",
    "rose_back",
    "kept_on",
    "kept_back",
    "flipped_on",
    "flipped_back",
    "kept_ahead",
    "kept_turned",
    "flipped_ahead",
    "flipped_turned",
    "mirrored",
    "moves",
    "down",
    "up",
    *(f"long_{n}" for n in LENGTHS),
    *(f"turn_{i}" for i in range(TURNS)),
)
WIDTH = len(COUNTS)
_AT = {name: i for i, name in enumerate(COUNTS)}


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts over some queries of one client."""

    vector: IntArray

    def __getitem__(self, name: str) -> int:
        return int(self.vector[_AT[name]])

    @property
    def share(self) -> float:
        """Share of the queries that are steps of a walk."""
        return self["steps"] / max(1, self["events"])

    @property
    def walking(self) -> float:
        """Share of the queries that could be compared and are no repeats that are steps of a walk."""
        return self["steps"] / max(1, self["compared"])

    @property
    def flip_rate(self) -> float:
        """Share of the steps at which the predicted class changed."""
        return self["flips"] / max(1, self["labelled"])

    @property
    def short_flip_rate(self) -> float:
        """Share of the short steps at which the predicted class changed."""
        return self["tight_flips"] / max(1, self["tight_labelled"])

    @property
    def longest(self) -> int:
        """The longest chain, as far down as lengths are told apart; 0 where there is no step."""
        known = [n for n in LENGTHS if self[f"long_{n}"]]
        return max(known, default=2 if self["steps"] else 0)

    @property
    def turns(self) -> FloatArray:
        """(``TURNS``,) shares of the cosines between consecutive steps, from -1 to 1."""
        counts = self.vector[_AT["turn_0"] : _AT["turn_0"] + TURNS]
        return np.asarray(counts / max(1, int(counts.sum())))


def contributions(batch: EventBatch) -> IntArray:
    """(n, ``WIDTH``) what each event adds to its client's tally; all but ``events`` is 0 where no ring was asked.

    A step is a query that nearly repeats a recent one, or one of mirrored tries, however far apart these are.
    """
    n = len(batch)
    blank = np.full(n, np.nan)
    names = (NEAREST_RECENT, CHAIN, FLIP, GAP, TRIED, WENT_ON, TURN, MIRRORED, DESCENT)
    code, chain, flip, gap, tried, on, turn, both_sides, descent = (
        batch.annotations.get(name, blank) for name in names
    )
    near, mirrored = np.nan_to_num(chain) > 0, both_sides == 1.0
    step = near | mirrored
    tight = near & (gap < TIGHT)
    went, back = on == 1.0, on == 0.0
    ahead, turned = turn >= STRAIGHT, turn <= -STRAIGHT
    kept = (tried == Tried.FELL) | (tried == Tried.LEVEL) | (tried == Tried.ROSE)
    columns: dict[str, NDArray[np.bool_]] = {
        "events": np.ones(n, dtype=bool),
        "exact": (code == Code.EXACT) & ~step,
        "compared": ~np.isnan(code) & ((code != Code.EXACT) | step),
        "steps": step,
        "chains": chain == 2.0,
        "labelled": near & ~np.isnan(flip),
        "flips": flip == 1.0,
        "tight_labelled": tight & ~np.isnan(flip),
        "tight_flips": tight & (flip == 1.0),
        "fell_on": (tried == Tried.FELL) & went,
        "fell_back": (tried == Tried.FELL) & back,
        "rose_on": (tried == Tried.ROSE) & went,
        "rose_back": (tried == Tried.ROSE) & back,
        "kept_on": kept & went,
        "kept_back": kept & back,
        "flipped_on": (tried == Tried.FLIPPED) & went,
        "flipped_back": (tried == Tried.FLIPPED) & back,
        "kept_ahead": kept & ahead,
        "kept_turned": kept & turned,
        "flipped_ahead": (tried == Tried.FLIPPED) & ahead,
        "flipped_turned": (tried == Tried.FLIPPED) & turned,
        "mirrored": mirrored,
        "moves": ~np.isnan(descent),
        **{f"long_{length}": np.nan_to_num(chain) >= length for length in LENGTHS},
    }
    out = np.zeros((n, WIDTH), dtype=np.int64)
    for name, values in columns.items():
        out[:, _AT[name]] = values
    out[:, _AT["down"]], out[:, _AT["up"]] = _thousandths(descent), _thousandths(1.0 - descent)
    told = np.flatnonzero(~np.isnan(turn))
    place = np.clip(((turn[told] + 1.0) / 2.0 * TURNS).astype(np.int64), 0, TURNS - 1)
    out[told, _AT["turn_0"] + place] = 1
    return out


def _thousandths(share: FloatArray) -> IntArray:
    """(n,) nats of p-values, at most ``MOST_NATS`` each, in thousandths; 0 where there is none."""
    nats = np.minimum(-np.log(np.maximum(np.nan_to_num(share, nan=1.0), 1e-9)), MOST_NATS)
    return np.rint(1000.0 * nats).astype(np.int64)

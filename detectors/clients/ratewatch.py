"""Rate watch: the evidence of several rates for all clients of a pane at once, beside what the other clients do.

For each client and head it keeps the state of ``rates.py``, and for all clients together the hits and trials of late,
fading with time. There each client counts for a few events at most, clients under an alarm do not count, and whoever
is judged is taken out first: a loud client neither hides among its own events nor teaches its judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.clients.rates import (
    FIELDS,
    HonestRate,
    explained,
    log_evidence,
    new_states,
    recent,
    step,
    with_past,
    without_evidence,
)

_LEAST_COMPANY: Final = 8.0
_MOST_OF_ONE: Final = 4.0
"""Events that one client counts for among all, of late and in a pane."""
_FADE_PANES: Final = 10.0
_FADE_S: Final = 600.0
Known = Mapping[str, FloatArray]
"""Client → (h, 2) hits and trials in the reference."""


@dataclass(frozen=True, slots=True, eq=False)
class RateStates:
    """States (c, h, fields) of clients, their own part (c, h, 2) of the company's sums, and when that was (c,)."""

    states: FloatArray
    own: FloatArray
    own_at: FloatArray

    def to_arrays(self, i: int) -> dict[str, NDArray[np.generic]]:
        """The arrays to keep of client ``i``."""
        return {"rates": self.states[i], "own": self.own[i], "own_at": self.own_at[i : i + 1]}


@dataclass(frozen=True, slots=True, eq=False)
class Company:
    """Hits and trials (h, 2) of all clients without an alarm; ``at`` is when they were last added to."""

    sums: FloatArray
    at: float

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, n_heads: int, at: float) -> Self:
        if not arrays or arrays["company"].shape != (n_heads, 2):
            return cls(np.zeros((n_heads, 2)), at)
        return cls(arrays["company"].astype(np.float64), float(arrays["company_at"][0]))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"company": self.sums, "company_at": np.array([self.at])}


@dataclass(frozen=True, slots=True, eq=False)
class RateLook:
    """What a pane showed of clients (c, h): evidence, share of late, how many events that rests on, what peers have.

    ``alone`` (c, h): too little is known of other clients to tell this one from a change of everybody.
    """

    after: RateStates
    company: Company
    evidence: FloatArray
    share: FloatArray
    n: FloatArray
    expected: FloatArray
    alone: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RateWatch:
    """Heads with their honest rates, the part (h,) of a client's false alarms that each may use, and known clients."""

    rates: tuple[HonestRate, ...]
    parts: FloatArray
    pane_s: float
    known: Known

    def load(self, clients: Sequence[str], evidence: Sequence[Mapping[str, NDArray[Any]] | None]) -> RateStates:
        """The states of clients: stored, known from the reference, or new."""
        h = len(self.rates)
        states, own, own_at = np.empty((len(clients), h, len(FIELDS))), np.zeros((len(clients), h, 2)), []
        for i, (client, arrays) in enumerate(zip(clients, evidence, strict=True)):
            if arrays and arrays["rates"].shape == (h, len(FIELDS)):
                states[i], own[i] = arrays["rates"], arrays["own"]
                own_at.append(float(arrays["own_at"][0]))
                continue
            states[i] = new_states(h)
            if client in self.known:
                states[i] = with_past(states[i], *self.known[client].T)
            own_at.append(-np.inf)
        return RateStates(states, own, np.array(own_at))

    def look(
        self,
        before: RateStates,
        company: Company,
        counts: FloatArray,
        trusted: NDArray[np.bool_],
        at: float,
    ) -> RateLook:
        """Fold a pane's hits and trials, ``counts`` (c, h, 2), into the states of its clients.

        Args:
            trusted: (c,) clients that count as company.
        """
        left = before.own * self._fade(before.own_at, at)[:, None, None]
        room = np.maximum(_MOST_OF_ONE - left[:, :, 1], 0.0) * trusted[:, None]
        added = counts * np.minimum(1.0, room / np.maximum(counts[:, :, 1], 1.0))[:, :, None]
        faded = np.maximum(company.sums * self._fade(np.array([company.at]), at) - left, 0.0)
        voiced = (
            counts * (trusted[:, None] * np.minimum(1.0, _MOST_OF_ONE / np.maximum(counts[:, :, 1], 1.0)))[:, :, None]
        )
        pane = voiced.sum(axis=0) - voiced
        states, mean = before.states.copy(), np.empty(counts.shape[:2])
        evidence, share, n = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
        for j, rate in enumerate(self.rates):
            if not rate.usable:
                evidence[:, j], share[:, j], n[:, j], mean[:, j] = -np.inf, 0.0, 0.0, 1.0
                continue
            shift = explained(rate, faded[:, j], pane[:, j])
            states[:, j], mean[:, j] = step(rate, before.states[:, j], counts[:, j, 0], counts[:, j, 1], shift)
            evidence[:, j] = log_evidence(states[:, j]) + np.log(self.parts[j])
            share[:, j], n[:, j] = recent(states[:, j])
        sums = company.sums * self._fade(np.array([company.at]), at) + added.sum(axis=0)
        alone = faded[:, :, 1] + pane[:, :, 1] < _LEAST_COMPANY
        after = RateStates(states, left + added, np.full(len(counts), at))
        return RateLook(after, Company(sums, at), evidence, share, n, mean, alone)

    def acquitted(self, states: RateStates, i: int) -> None:
        """Hold nothing of the past against client ``i``; in place, on states that ``look`` made."""
        for j in range(len(self.rates)):
            states.states[i : i + 1, j] = without_evidence(states.states[i : i + 1, j])

    def _fade(self, before: FloatArray, at: float) -> FloatArray:
        gone = np.maximum(0.0, at - before)
        return np.asarray(np.exp(-gone / max(_FADE_S, _FADE_PANES * self.pane_s)))

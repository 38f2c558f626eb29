"""Recalibration: honest clients of today widen the tail that the reference taught, and nobody does so alone.

The latest p-values of up to 256 clients, one entry each, say how often ordinary clients look odd now. Where a tenth of
them lies farther out than a tenth of honest clients should, statistics (of bets: the logarithms of their p) are scaled
down until it does not. A client can move that tenth by one rank, whatever it does and however slowly; clients under
alarm have no entry, nothing is learned while an incident is open, and the scale never passes ``MOST``, beyond which the
reference should be fitted again. It only widens: a calm week must not make the detector easier to alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.clients.sums import client_number
from detectors.extraction.baseline import Baseline
from detectors.extraction.tails import Tails

MAX_ENTRIES = 256
LEAST_ENTRIES = 20
MOST = 1.6
"""Largest factor by which a statistic is scaled down."""
MAX_OPEN = 64
OPEN_FOR_S = 86_400.0
HEADS = ("H1", "H2", "H3", "H9", "H10", "H11")
BODY = 0.1
"""Share of the oddest clients of today that is held beside what it should be."""


@dataclass(frozen=True, slots=True, eq=False)
class Recent:
    """What clients without an alarm looked like at their last look, and what the alarms cost so far.

    Attributes:
        keys, log_p, at: (k,), (k, 6), (k,) client, logs of its p-values by the reference's tail, event time.
        open_keys, open_at: (j,) clients under alarm and when they were last seen.
        client_days, alarms: client-days judged, and clients that came under alarm.
    """

    keys: IntArray
    log_p: FloatArray
    at: FloatArray
    open_keys: IntArray
    open_at: FloatArray
    client_days: float
    alarms: float

    @classmethod
    def empty(cls) -> Self:
        none, floats = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(none, np.empty((0, len(HEADS))), floats, none, floats, 0.0, 0.0)

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None) -> Self:
        if not arrays or arrays["log_p"].shape[1:] != (len(HEADS),):
            return cls.empty()
        days, alarms = arrays["spent"].tolist()
        opened = (arrays["open_keys"], arrays["open_at"])
        return cls(arrays["keys"], arrays["log_p"], arrays["at"], *opened, client_days=days, alarms=alarms)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {
            "keys": self.keys,
            "log_p": self.log_p,
            "at": self.at,
            "open_keys": self.open_keys,
            "open_at": self.open_at,
            "spent": np.array([self.client_days, self.alarms]),
        }

    def judged(self, accused: Sequence[str], cleared: Sequence[str], days: int, alarms: int, at: float) -> Recent:
        """After a pane: who is under alarm, who no longer is, and what is added to the account."""
        gone = [client_number(client) for client in (*accused, *cleared)]
        stays = ~np.isin(self.open_keys, gone) & (at - self.open_at < OPEN_FOR_S)
        new = np.array([client_number(client) for client in sorted(accused)], dtype=np.int64)
        keys = np.concatenate([new, self.open_keys[stays]])[:MAX_OPEN]
        times = np.concatenate([np.full(len(new), at), self.open_at[stays]])[:MAX_OPEN]
        return replace(
            self.without(accused),
            open_keys=keys,
            open_at=times,
            client_days=self.client_days + days,
            alarms=self.alarms + alarms,
        )

    def without(self, clients: Sequence[str]) -> Recent:
        """The entries of these clients struck out."""
        kept = ~np.isin(self.keys, [client_number(client) for client in clients])
        return replace(self, keys=self.keys[kept], log_p=self.log_p[kept], at=self.at[kept])

    @property
    def has_open(self) -> bool:
        """Whether a client is under alarm: then nothing is learned."""
        return len(self.open_keys) > 0

    def noted(self, looks: Mapping[str, Sequence[float]], at: float) -> Recent:
        """The table after these clients were looked at: one entry a client, the latest of ``MAX_ENTRIES`` clients."""
        if not looks:
            return self
        rest = self.without(list(looks))
        keys = np.concatenate([[client_number(client) for client in sorted(looks)], rest.keys]).astype(np.int64)
        log_p = np.concatenate([[looks[client] for client in sorted(looks)], rest.log_p])
        times = np.concatenate([np.full(len(looks), at), rest.at])
        kept = np.lexsort((keys, -times))[:MAX_ENTRIES]
        return replace(self, keys=keys[kept], log_p=log_p[kept], at=times[kept])

    def factors(self, tails: Tails) -> FloatArray:
        """(6,) by how much the statistic of each head is scaled down, in [1, ``MOST``]; ones for few clients."""
        k = len(self.keys)
        if k < LEAST_ENTRIES:
            return np.ones(len(HEADS))
        tenth = np.sort(self.log_p, axis=0)[int(BODY * k)]
        distance, asked, repeats, *placed = tenth.tolist()
        body = float(np.log(BODY))
        far, near = (tail.at(p) / tail.at(body) for tail, p in ((tails.distance, distance), (tails.repeats, repeats)))
        asked, *others = (max(0.0, p / body) for p in (asked, *placed))
        seen = np.array([far, asked, near, *others])
        return np.asarray(np.clip(seen ** (k / (k + float(LEAST_ENTRIES))), 1.0, MOST))

    def widened(self, baseline: Baseline) -> Baseline:
        """The baseline by which ordinary clients of today are ordinary; the same one where they are by the old."""
        factors = self.factors(baseline.tails).tolist()
        return baseline if max(factors) <= 1.0 else replace(baseline, tails=baseline.tails.widened(*factors))

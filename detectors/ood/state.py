"""Evidence state of the OOD detector: what it believes, and what it has seen since it began to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from detectors.base import Arrays
from detectors.batch import FloatArray, IntArray
from detectors.evidence import NO_EVIDENCE
from detectors.ood.tally import N_BINS, RANGES, STRANGE, Senders, discoveries
from detectors.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Shape:
    """How many bets, inputs (sources), component scores and columns a reference has."""

    bets: int
    inputs: int
    components: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What came since the evidence began to rise; sums of sketches.

    Attributes:
        counts: (bins,) events by p-value.
        n_called: events that were strange one by one at the false discovery rate of their pane.
        missing: (inputs + 1,) events that lack each input, and events that could not be scored at all.
        components: (components,) strange events by the component that was most surprised.
        columns: (columns, 5) strange events that blame each column, of these above, below, missing, and new; the last
            but these is the sum of the distances in hundredths of a spread.
        clients, segments: who sent them.
    """

    counts: IntArray
    n_called: int
    missing: IntArray
    components: IntArray
    columns: IntArray
    clients: Senders
    segments: Senders

    @classmethod
    def nothing(cls, shape: Shape) -> Seen:
        def zeros(*size: int) -> IntArray:
            return np.zeros(size, dtype=np.int64)

        return cls(
            zeros(N_BINS),
            0,
            zeros(shape.inputs + 1),
            zeros(shape.components),
            zeros(shape.columns, 5),
            Senders.none(),
            Senders.none(),
        )

    def plus(self, sketch: Sketch) -> Seen:
        totals = sketch.totals
        return Seen(
            self.counts + totals["bins"],
            self.n_called + discoveries(totals["ranks"]),
            self.missing + totals["missing"],
            self.components + totals["components"],
            self.columns + totals["columns"],
            self.clients.plus(sketch.keyed.get("clients", {})),
            self.segments.plus(sketch.keyed.get("segments", {})),
        )

    @property
    def n_events(self) -> int:
        """Scored events."""
        return int(self.counts.sum())

    @property
    def n_strange(self) -> int:
        """Of these, stranger than 99 in 100 reference events."""
        return int(self.counts[: RANGES[STRANGE]].sum())


@dataclass(frozen=True, slots=True, eq=False)
class OodEvidence:
    """Running state of the test.

    Attributes:
        log_evidence: (bets,) log M.
        seen: what came since the evidence began to rise.
        since: event time at which it began; None while quiet.
        n_alarms, n_seen: alarms raised and events scored so far.
    """

    log_evidence: FloatArray
    seen: Seen
    since: float | None
    n_alarms: int
    n_seen: int

    @classmethod
    def fresh(cls, shape: Shape) -> OodEvidence:
        return cls(np.full(shape.bets, NO_EVIDENCE), Seen.nothing(shape), None, 0, 0)

    def quiet(self, shape: Shape) -> OodEvidence:
        """The same with the accumulation emptied."""
        return replace(self, seen=Seen.nothing(shape), since=None)

    def to_arrays(self) -> dict[str, Any]:
        seen = self.seen
        return {
            "log_evidence": self.log_evidence,
            "counts": seen.counts,
            "missing": seen.missing,
            "components": seen.components,
            "columns": seen.columns,
            "clients": seen.clients.names,
            "client_counts": seen.clients.counts,
            "segments": seen.segments.names,
            "segment_counts": seen.segments.counts,
            "since": np.array([math.nan if self.since is None else self.since]),
            "n": np.array([self.n_alarms, self.n_seen, seen.n_called], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        since = float(arrays["since"][0])
        n_alarms, n_seen, n_called = (int(n) for n in arrays["n"])
        counts, missing, components, columns = (
            np.asarray(arrays[name], np.int64) for name in ("counts", "missing", "components", "columns")
        )
        clients, segments = (
            Senders(np.asarray(arrays[f"{who}s"], np.str_), np.asarray(arrays[f"{who}_counts"], np.int64))
            for who in ("client", "segment")
        )
        seen = Seen(counts, n_called, missing, components, columns, clients, segments)
        return cls(
            np.asarray(arrays["log_evidence"], np.float64), seen, None if math.isnan(since) else since, n_alarms, n_seen
        )

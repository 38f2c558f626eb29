"""Study: what is measured of every client beside the sums that accuse it: exposure, coverage, tempo.

The map side adds one vector a client to the sketch, group ``exposure``: the meter's sums, then counts by cell. The
reduce side keeps their total, and at every look of the detector what a copy trained on them would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.rings import EXACT_REPEAT, clients_of
from detectors.extraction.channels import Channels, Rows
from detectors.extraction.coverage import CELLS, Cells, evenness, rarefied
from detectors.extraction.equals import SIZES, Equals
from detectors.extraction.exposure import Copy, Meter
from detectors.extraction.selfhistory import Itself
from detectors.extraction.tempo import DAY_S, Tempo

EXPOSURE = "exposure"
_TWICE = float(np.log(2.0))


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What was learned of honest clients for it; ``meter`` is None where the log holds no answers."""

    meter: Meter | None
    cells: Cells
    coverage: Equals
    evenness: Equals
    copied: Equals
    itself: Itself

    @classmethod
    def fit(
        cls,
        batch: EventBatch,
        rows: Rows,
        exact: NDArray[np.bool_],
        channels: Channels,
        itself: Itself,
        rng: np.random.Generator,
    ) -> Self:
        """Learn from the events of honest clients, of which ``exact`` are exact repeats."""
        assert batch.client_id is not None
        counted = rows.present & ~exact
        meter = Meter.fit(batch, rows, channels, rng)
        cells = Cells.fit(rows.white[counted], rng)
        which = cells.of(rows.white)
        design = None if meter is None else meter.design(rows, batch, channels)
        covered: list[list[float]] = [[] for _ in SIZES]
        even: list[list[float]] = [[] for _ in SIZES]
        copied: list[list[float]] = [[] for _ in SIZES]
        for _, index in clients_of(batch.client_id):
            own = index[counted[index]]
            counts, classes = np.bincount(which[own], minlength=CELLS), np.bincount(rows.label[index])
            for i, size in enumerate(SIZES):
                if len(own) >= size:
                    covered[i].append(rarefied(counts, size))
                    even[i].append(evenness(classes))
                    if meter is not None and design is not None:
                        copied[i].append(_share(meter, design[own[:size]]))
        return cls(meter, cells, Equals.fit(covered), Equals.fit(even), Equals.fit(copied), itself)

    @property
    def width(self) -> int:
        """Length of a client's vector."""
        return (self.meter.width if self.meter is not None else 0) + CELLS

    def sums(
        self, rows: Rows, batch: EventBatch, order: IntArray, first: IntArray, channels: Channels
    ) -> tuple[IntArray, NDArray[np.bool_]]:
        """(groups, width) sums over runs of ``order`` that begin at ``first``, and which of them are not empty."""
        counted = rows.present & ~(batch.annotations.get(EXACT_REPEAT, np.zeros(len(batch))) == 1.0)
        sizes = np.diff(np.append(first, len(order)))
        group = np.empty(len(order), dtype=np.int64)
        group[order] = np.repeat(np.arange(len(first)), sizes)
        parts = [self.cells.sums(rows.white, counted, group, len(first))]
        if self.meter is not None:
            design = self.meter.design(rows, batch, channels)
            design[~counted] = 0.0
            parts.insert(0, self.meter.sums(design[order], first, sizes))
        out = np.concatenate(parts, axis=1)
        return out, np.asarray(out.any(axis=1))

    def copy(self, sums: IntArray) -> Copy | None:
        """The copy that could be trained on the sums of a client, or of several added up."""
        return None if self.meter is None else self.meter.copy(sums[: self.meter.width])

    def counts(self, sums: IntArray) -> IntArray:
        """(CELLS,) queries by cell."""
        return sums[-CELLS:]

    def witness(self, dossier: Dossier, copy: Copy | None, classes: FloatArray) -> tuple[float, float]:
        """Log p-values of coverage (H5) and of exposure (H6) beside honest clients of equal volume; 0 where unknown."""
        counts = self.counts(dossier.sums)
        size = self.coverage.below(float(counts.sum()))
        h5 = 0.0
        if size is not None:
            wide = self.coverage.log_p(rarefied(counts, SIZES[size]), size)
            h5 = min(0.0, min(wide, self.evenness.log_p(evenness(classes), size)) + _TWICE)
        above = None if copy is None else self.copied.above(copy.n)
        return h5, 0.0 if copy is None or above is None else self.copied.log_p(copy.share, above)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        parts: dict[str, Meter | Cells | Equals | Itself | None] = {
            "meter": self.meter,
            "cells": self.cells,
            "coverage": self.coverage,
            "evenness": self.evenness,
            "copied": self.copied,
            "itself": self.itself,
        }
        return {f"{k}.{n}": a for k, part in parts.items() if part is not None for n, a in part.to_arrays().items()}

    def to_facts(self) -> dict[str, Any]:
        return {"meter": None if self.meter is None else self.meter.to_facts()}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        def under(name: str) -> dict[str, NDArray[Any]]:
            return {k[len(name) + 1 :]: v for k, v in arrays.items() if k.startswith(name + ".")}

        meter = None if facts["meter"] is None else Meter.load(under("meter"), facts["meter"])
        coverage, even, copied = (Equals.load(under(name)) for name in ("coverage", "evenness", "copied"))
        return cls(meter, Cells.load(under("cells")), coverage, even, copied, Itself.load(under("itself")))


@dataclass(frozen=True, slots=True, eq=False)
class Dossier:
    """What is kept of one client.

    Attributes:
        sums: (width,) int64 since first seen.
        marks: (3, 3) event time, queries and agreement of the last measurement, of the one before it, and of the last
            one of an earlier day; zeros where there was none.
    """

    sums: IntArray
    marks: FloatArray
    tempo: Tempo

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, width: int) -> Self:
        """The stored one; a new one for a client not seen before, or seen under another reference."""
        if not arrays or "exposure" not in arrays or arrays["exposure"].shape != (width,):
            return cls(np.zeros(width, dtype=np.int64), np.zeros((3, 3)), Tempo.new())
        return cls(arrays["exposure"], arrays["marks"], Tempo.load(arrays))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"exposure": self.sums, "marks": self.marks, **self.tempo.to_arrays()}

    def after(self, added: IntArray | None, events: int, unread: int, at: float) -> Dossier:
        """With a pane folded in."""
        sums = self.sums if added is None or added.shape != self.sums.shape else self.sums + added
        return replace(self, sums=sums, tempo=self.tempo.after(events, unread, at))

    def measured(self, copy: Copy, at: float) -> Dossier:
        """With a measurement at event time ``at``."""
        last, before, earlier = self.marks
        if last[1] and last[0] // DAY_S < at // DAY_S:
            earlier = last
        return replace(self, marks=np.array([(at, copy.n, copy.agreement), last if last[1] else before, earlier]))

    @property
    def gain(self) -> tuple[float, float | None]:
        """Agreement won since the measurement before the last one, and since an earlier day (None: not known)."""
        last, before, earlier = self.marks
        return float(last[2] - before[2]) if before[1] else 0.0, float(last[2] - earlier[2]) if earlier[1] else None


def together(dossiers: Sequence[Dossier]) -> IntArray | None:
    """The sums of a group of clients, as if one had asked all their queries; None for no client."""
    return None if not dossiers else np.sum([d.sums for d in dossiers], axis=0)


def _share(meter: Meter, design: FloatArray) -> float:
    """Share of what can be copied that these queries give away."""
    found = meter.copy(meter.sums(design, np.array([0]), np.array([len(design)]))[0])
    return 0.0 if found is None else found.share

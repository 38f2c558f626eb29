"""Self-history (head H7): does a client still behave as it did itself?

A client's past puts its mean at an empirical-Bayes place: its own, shrunk towards its peers as far as its queries are
few. How far honest clients stray from their own past is learned from the reference, its first half against its second.
What H1 cannot see, a client that turns from its own corner of ordinary traffic to everybody's, lies far from itself: a
hijacked key, or ordinary data scraped through a known account. Beside peers the mix of classes is left out, because
honest clients differ most in it; beside a client's own past it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray
from detectors.clients.rings import clients_of
from detectors.extraction.baseline import ENOUGH_CLIENTS, FOLDS
from detectors.extraction.channels import Rows
from detectors.extraction.heads import UNEVEN_DRIFT, Spread, along, t_squared
from detectors.extraction.history import MAX_KNOWN, History
from detectors.extraction.tails import Tail
from detectors.keys import client_key

SIZES = (12, 25, 50, 100, 200, 400)
LEAST_PAST = 50
"""Fresh queries of a past that a client can be held to."""
MOST_PAST = 400
"""Fresh queries at which more of a past makes nobody more certain: habits change slowly even where data do not."""
_FLOOR = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Wavering:
    """How far honest clients stray from their own past in one space of k directions.

    Attributes:
        wobble: (k,) variance of a client's mean over time, in units of one query's variance.
        between: (k,) variance between clients in the same units.
        sizes, medians: median T² against the own past, by number of queries.
        tail: of a client's largest T² over its median.
    """

    wobble: FloatArray
    between: FloatArray
    sizes: FloatArray
    medians: FloatArray
    tail: Tail

    @classmethod
    def fit(cls, halves: Sequence[Sequence[FloatArray]], between: FloatArray, seed: int) -> Self:
        """Learn from clients' rows (m, k), first and second half; each is judged by the wavering of the others."""
        rng = np.random.default_rng(seed)
        fold = rng.permutation(len(halves)) % min(FOLDS, len(halves))
        found: list[tuple[int, int, float]] = []
        for f in range(int(fold.max()) + 1):
            wobble = _wobble([h for h, g in zip(halves, fold, strict=True) if g != f])
            for i in np.flatnonzero(fold == f).tolist():
                found += [(i, n, t) for n, t in _strays(halves[i], wobble, between)]
        table = [(n, np.array([t for _, m, t in found if m == n])) for n in SIZES]
        known = [(n, float(np.median(t))) for n, t in table if len(t) >= ENOUGH_CLIENTS]
        sizes, medians = np.array([n for n, _ in known], dtype=np.float64), np.array([m for _, m in known])
        largest = dict.fromkeys(range(len(halves)), 0.0)
        for i, n, t in found:
            largest[i] = max(largest[i], t / float(np.interp(np.log(n), np.log(sizes), medians)))
        return cls(_wobble(halves), between, sizes, medians, Tail.fit(list(largest.values())))

    def log_p(self, now: FloatArray, n: float, past: FloatArray, n_past: float, way: FloatArray, slack: float) -> float:
        """Natural log of the p-value of a mean of n queries beside one of ``n_past``; ``way`` is a common drift."""
        place, variance = _place(past, n_past, self.between)
        variance, gap = variance + self.wobble, now - place
        if way.any():
            variance = variance + UNEVEN_DRIFT * (way * way + float(np.mean(way * way)))
            gap = gap - way * along(gap, way, variance + 1.0 / n)
        usual = float(np.interp(np.log(n), np.log(self.sizes), self.medians))
        return self.tail.log_p(t_squared(gap, variance, n) / usual / slack)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        parts = {name: getattr(self, name) for name in ("wobble", "between", "sizes", "medians")}
        return {**parts, "tail": self.tail.to_row()}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        wobble, between, sizes, medians = (arrays[name] for name in ("wobble", "between", "sizes", "medians"))
        return cls(wobble, between, sizes, medians, Tail.of_row(arrays["tail"]))


@dataclass(frozen=True, slots=True, eq=False)
class Itself:
    """Clients beside their own past, in channel directions and in classes.

    Attributes:
        rows, classes: how far honest clients stray in the d axes of ``Spread``, and in C + 1 classes; None: not known.
        pooled: (C + 1,) shares of the classes over all clients.
        known: client -> (C + 1,) shares of the classes in its past.
    """

    rows: Wavering | None
    classes: Wavering | None
    pooled: FloatArray
    known: Mapping[str, FloatArray]

    @classmethod
    def fit(
        cls, batch: EventBatch, rows: Rows, new: NDArray[np.bool_], spread: Spread, n_labels: int, seed: int
    ) -> Self:
        """Learn from the ``new`` events of clients with enough of them; unknown where those clients are few."""
        assert batch.client_id is not None
        pooled = (np.bincount(rows.label[new], minlength=n_labels + 1) + 0.5) / (new.sum() + 0.5 * (n_labels + 1))
        own = [(client, index[new[index]]) for client, index in clients_of(batch.client_id)]
        own = [(client, index) for client, index in own if len(index) >= LEAST_PAST]
        if len(own) < ENOUGH_CLIENTS:
            return cls(None, None, pooled, {})
        placed = [(rows.phi[index] - spread.centre) @ spread.axes for _, index in own]
        hot = np.eye(n_labels + 1)
        asked = [_by_class(hot[rows.label[index]], pooled) for _, index in own]
        ranked = sorted(own, key=lambda item: (-len(item[1]), item[0]))[:MAX_KNOWN]
        known = {client_key(c): np.bincount(rows.label[i], minlength=n_labels + 1) / len(i) for c, i in ranked}
        return cls(
            Wavering.fit([np.array_split(v, 2) for v in placed], spread.between, seed),
            Wavering.fit([np.array_split(v, 2) for v in asked], _excess(asked), seed) if n_labels > 1 else None,
            pooled,
            known,
        )

    def log_p(
        self,
        client: str,
        mean: FloatArray,
        classes: FloatArray,
        n: float,
        past: History | None,
        spread: Spread,
        drift: FloatArray | None,
        inflation: float,
    ) -> float:
        """Natural log of the p-value of n fresh queries under "this client is as it was"; 0 where that is not known.

        ``mean`` (d,) is their mean channel row, ``classes`` (C + 1,) counts; ``drift`` (d,) is how far everybody moved,
        ``inflation`` how much farther than usual peers scatter of late.
        """
        share = self.known.get(client)
        if past is None or share is None or self.rows is None or n < SIZES[0]:
            return 0.0
        then, now = ((row - spread.centre) @ spread.axes for row in (past.mean, mean))
        way = np.zeros(len(now)) if drift is None else np.asarray(drift @ spread.axes)
        found = self.rows.log_p(now, n, then, past.fresh, way, inflation)
        if self.classes is None:
            return found
        asked = _by_class(classes / max(1.0, float(classes.sum())), self.pooled)
        still = np.zeros(len(asked))
        mix = self.classes.log_p(asked, n, _by_class(share, self.pooled), past.fresh, still, inflation)
        return min(0.0, min(found, mix) + float(np.log(2.0)))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        names = list(self.known)
        arrays: dict[str, NDArray[np.generic]] = {"pooled": self.pooled}
        for name, part in (("rows", self.rows), ("classes", self.classes)):
            arrays |= {f"{name}.{key}": array for key, array in part.to_arrays().items()} if part is not None else {}
        if names:
            arrays["known"] = np.array(names, dtype=np.str_)
            arrays["known_shares"] = np.array([self.known[name] for name in names], dtype=np.float32)
        return arrays

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        known: dict[str, FloatArray] = {}
        if "known" in arrays:
            shares = arrays["known_shares"].astype(np.float64)
            known = dict(zip(arrays["known"].tolist(), shares, strict=True))
        found = [{k[len(n) :]: v for k, v in arrays.items() if k.startswith(n)} for n in ("rows.", "classes.")]
        rows, classes = (Wavering.load(part) if part else None for part in found)
        return cls(rows, classes, arrays["pooled"], known)


def _by_class(share: FloatArray, pooled: FloatArray) -> FloatArray:
    """Class shares, or indicators of one query's class, in units in which one query's variance is about one."""
    return np.asarray((share - pooled) / np.sqrt(np.maximum(pooled, 0.01)))


def _place(past: FloatArray, n: float, between: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where n queries of a past put a client, shrunk towards its peers, and how uncertain that is."""
    n = min(n, float(MOST_PAST))
    trust = between / (between + 1.0 / n)
    return trust * past, trust / n


def _strays(halves: Sequence[FloatArray], wobble: FloatArray, between: FloatArray) -> list[tuple[int, float]]:
    """(n, T²) of the first n later queries for every size that fits, and of the last n where that is other data."""
    past, later = halves
    place, variance = _place(past.mean(axis=0), len(past), between)
    out = []
    for n in SIZES:
        if len(later) >= n:
            out.append((n, t_squared(later[:n].mean(axis=0) - place, variance + wobble, n)))
        if len(later) >= 2 * n:
            out.append((n, t_squared(later[-n:].mean(axis=0) - place, variance + wobble, n)))
    return out


def _wobble(halves: Sequence[Sequence[FloatArray]]) -> FloatArray:
    """Half the variance between a client's halves beyond chance, shrunk towards its mean and never zero."""
    gaps = np.array([a.mean(axis=0) - b.mean(axis=0) for a, b in halves])
    noise = np.array([1.0 / len(a) + 1.0 / len(b) for a, b in halves])
    size = np.sqrt(np.sum(gaps**2, axis=1) / (0.02 + noise))
    gaps = gaps * np.minimum(1.0, 3.0 * np.median(size) / np.maximum(size, 1e-12))[:, None]
    raw = np.maximum((np.mean(gaps**2, axis=0) - noise.mean()) / 2.0, 0.0)
    d, k = gaps.shape[1], len(gaps)
    shrink = max(0.2, d / (d + 2.0 * k))
    return np.asarray(np.maximum((1.0 - shrink) * raw + shrink * raw.mean(), _FLOOR))


def _excess(vectors: Sequence[FloatArray]) -> FloatArray:
    """Variance between clients' means beyond chance, never below a floor."""
    means = np.array([v.mean(axis=0) for v in vectors])
    noise = float(np.mean([1.0 / len(v) for v in vectors]))
    return np.asarray(np.maximum(means.var(axis=0) - noise, 0.01))

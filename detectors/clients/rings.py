"""Rings: each client's recent queries in a small projection, to tell repeats, near repeats and walks from new queries.

This is soft state. A worker holds one ``ClientRings`` a model version and annotates batches in arrival order before
they are sketched; after a restart the rings fill again from traffic, and until they do fewer repeats are recognised.
Memory is bounded by ``max_clients`` times ``capacity`` times 60 bytes: the projection and the watched columns, two
bytes a number, and a note.
Own names (``detectors/clients/names.py``) add two numbers a column for clients that send what nobody has heard of.
Detectors that share one memory fit it with the same ``CAPACITY``, since more recent queries are nearer ones.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.clients.labels import positions, predicted
from detectors.clients.mirrors import MIRRORS, mirror
from detectors.clients.names import OwnNames
from detectors.clients.stamps import STAMPED, Stamps, stamped
from detectors.clients.vectors import VectorMap
from detectors.clients.walks import NOTE, WALK, Arrivals, confidence, follow, new_notes

PROJECTED = 16
CAPACITY = 160
"""Recent queries remembered of each client; they stay below ten kilobytes."""
NEAREST_RECENT = "nearest_recent"
"""Annotation: code of the distance to the client's nearest recent query, see ``Code``; NaN = nothing can be said."""
EXACT_REPEAT = "exact_repeat"
"""Annotation: 1.0 where the client has recently sent the very same query."""
APART = "apart"
"""Annotation: 1.0 where the nearest recent query lies no nearer than for ``APART_SHARE`` of honest queries of the class
with as many recent ones, 0.0 where it lies nearer; NaN for exact repeats and where too few are recent."""
LEVELS = (0.002, 0.01, 0.05)
APART_SHARE = 0.75
RECENT_FROM = (16, 32, 64, 128)
"""Numbers of recent queries from which ``apart`` has a limit of its own; with fewer nothing is said."""
CHUNK = 512
_BLOCK = 128
_Columns = dict[str, FloatArray]
MIN_DISTANCES = 100


class Code:
    """Values of ``nearest_recent``: the nearer, the smaller."""

    EXACT = 0.0
    NEAREST = 1.0
    NEAR = 2.0
    CLOSE = 3.0
    NEW = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Nearness:
    """How queries lie to recent ones of the same client: (n,) ``codes``, ``apart`` and ``stamped``, as annotated."""

    codes: FloatArray
    apart: FloatArray
    stamped: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RingCode:
    """How a query is projected, and which distances count as near.

    Attributes:
        map: view the projection reads (the features where they are logged).
        projection: (p, PROJECTED) random directions.
        labels: predicted classes with limits of their own.
        same: distances up to this are the same query.
        near: (C + 1, 3) distances below which honest queries of a predicted class fall in the ``LEVELS`` shares of
            cases; the last row is for every other class. Some classes are all alike, so one limit for all would not do.
        apart: (C + 1, len(RECENT_FROM)) distances that ``APART_SHARE`` of honest queries exceed, by predicted class and
            number of recent queries.
        walk: (C + 1,) distances below which a query continues a walk: half of what is usual in the class.
        stamps: columns that are watched for steps of one size.
    """

    map: VectorMap
    projection: FloatArray
    labels: tuple[str, ...]
    same: float
    near: FloatArray
    apart: FloatArray
    walk: FloatArray
    stamps: Stamps

    def project(self, batch: EventBatch) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """(n, PROJECTED) coded queries and (n,) whether the view was there."""
        coded = np.empty((len(batch), PROJECTED), dtype=np.float16)
        present = np.empty(len(batch), dtype=bool)
        for i in range(0, len(batch), CHUNK):
            part = np.arange(i, min(i + CHUNK, len(batch)))
            vectors, present[part], _ = self.map.vectors(batch.take(part))
            coded[part] = _coded(vectors, self.projection)
        return coded, present

    def nearness_of(self, vectors: FloatArray, label: IntArray, capacity: int = CAPACITY) -> Nearness:
        """Of one client's queries, in order, from their (n, p) vectors in the view, which do not say whether they are
        stamped; n² distances at once.
        """
        coded = _coded(vectors, self.projection)
        nowhere = np.full(len(coded), np.nan)
        return self.nearness(compare(coded[:0], coded, capacity)[0], label, _recent(0, len(coded), capacity), nowhere)

    def nearness(self, distance: FloatArray, label: IntArray, recent: IntArray, stamp: FloatArray) -> Nearness:
        """Of queries with these distances, class positions, numbers of recent queries and stamps, each (n,)."""
        other = np.isfinite(distance) & (distance > self.same)
        return Nearness(
            self.codes(distance, label),
            self.apart_of(distance, label, recent),
            np.where(other, stamp, np.nan),
        )

    def apart_of(self, distance: FloatArray, label: IntArray, recent: IntArray) -> FloatArray:
        """(n,) ``apart`` of queries with these distances, class positions and numbers of recent queries."""
        size = np.searchsorted(RECENT_FROM, recent, side="right") - 1
        far = distance > self.apart[label, np.maximum(size, 0)]
        told = (size >= 0) & np.isfinite(distance) & (distance > self.same)
        return np.where(told, far.astype(np.float64), np.nan)

    def codes(self, distance: FloatArray, label: IntArray) -> FloatArray:
        """(n,) codes of distances (inf = no recent query, NaN = unknown) of queries with these class positions."""
        out = np.full(len(distance), Code.NEW)
        limits = self.near[label]
        for code, column in ((Code.CLOSE, 2), (Code.NEAR, 1), (Code.NEAREST, 0)):
            out[distance < limits[:, column]] = code
        out[distance <= self.same] = Code.EXACT
        out[np.isnan(distance)] = np.nan
        return out

    @property
    def fingerprint(self) -> str:
        """Equal for equal codes: detectors that were fitted on the same reference share one memory by it."""
        digest = hashlib.blake2b(repr((self.map.to_facts(), self.labels)).encode("utf-8", "surrogatepass"))
        for name, array in sorted(self.to_arrays().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {f"map.{k}": v for k, v in self.map.to_arrays().items()}
        arrays |= {f"stamps.{k}": v for k, v in self.stamps.to_arrays().items()}
        limits = {"same": np.array([self.same]), "near": self.near, "apart": self.apart, "walk": self.walk}
        return arrays | {"projection": self.projection} | limits

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any], labels: tuple[str, ...]) -> Self:
        inner, watched = (
            {name[len(part) :]: array for name, array in arrays.items() if name.startswith(part)}
            for part in ("map.", "stamps.")
        )
        near, apart, walk = (arrays[name] for name in ("near", "apart", "walk"))
        source, same, stamps = VectorMap.load(inner, facts), float(arrays["same"][0]), Stamps.load(watched)
        return cls(source, arrays["projection"], labels, same, near, apart, walk, stamps)


def _recent(held: int, n: int, capacity: int) -> IntArray:
    """(n,) how many recent queries each of n new ones is compared with, behind ``held`` others."""
    return np.minimum(held + np.arange(n), capacity)


def _coded(vectors: FloatArray, projection: FloatArray) -> NDArray[np.float16]:
    return np.asarray(np.clip(vectors @ projection, -6e4, 6e4).astype(np.float16))


def random_projection(width: int, rng: np.random.Generator) -> FloatArray:
    """(width, PROJECTED) directions that keep distances, in units of one coordinate's deviation."""
    return np.asarray(rng.standard_normal((width, PROJECTED)) / np.sqrt(PROJECTED * width))


@dataclass(slots=True, eq=False)
class _Ring:
    """One client's last queries, oldest first: coded (k, PROJECTED), watched numbers (k, w) and notes (k,), and how
    many chains it began.
    """

    coded: NDArray[np.float16]
    numbers: NDArray[np.int16]
    notes: NDArray[np.void]
    chains: int = 0

    @classmethod
    def empty(cls, watched: int) -> Self:
        none = np.empty((0, watched), dtype=np.int16)
        return cls(np.empty((0, PROJECTED), dtype=np.float16), none, np.empty(0, dtype=NOTE))

    @property
    def nbytes(self) -> int:
        return self.coded.nbytes + self.numbers.nbytes + self.notes.nbytes

    def add(self, coded: NDArray[np.float16], numbers: NDArray[np.int16], notes: NDArray[np.void]) -> None:
        self.coded = np.concatenate([self.coded, coded])
        self.numbers = np.concatenate([self.numbers, numbers])
        self.notes = np.concatenate([self.notes, notes])

    def cut(self, capacity: int) -> None:
        """Forget all but the last ``capacity``."""
        if len(self.notes) > capacity:
            self.coded = self.coded[-capacity:].copy()
            self.numbers = self.numbers[-capacity:].copy()
            self.notes = self.notes[-capacity:].copy()


class ClientRings:
    """The last ``capacity`` queries of the ``max_clients`` most recently active clients."""

    def __init__(self, code: RingCode, capacity: int = CAPACITY, max_clients: int = 10_000) -> None:
        self._code = code
        self._capacity = capacity
        self._max_clients = max_clients
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._names = OwnNames(code.map, max_clients)
        self._weights = code.stamps.weights

    def __len__(self) -> int:
        return len(self._rings)

    @property
    def nbytes(self) -> int:
        """Bytes held by the rings themselves."""
        return sum(ring.nbytes for ring in self._rings.values())

    def annotate(self, batch: EventBatch) -> EventBatch:
        """The batch with ``own_names``, ``nearest_recent``, ``exact_repeat``, ``apart``, ``stamped`` and what walks and
        mirrors say.

        The events join the rings in arrival order.
        """
        batch = self._names.annotate(batch)
        names = predicted(batch)
        label = positions(names, self._code.labels)
        distance, recent, told = self._visits(batch, names, label)
        seen = self._code.nearness(distance, label, recent, told[STAMPED])
        exact = np.where(np.isnan(seen.codes), np.nan, (seen.codes == Code.EXACT).astype(np.float64))
        placed = {NEAREST_RECENT: seen.codes, EXACT_REPEAT: exact, APART: seen.apart, STAMPED: seen.stamped}
        return batch.annotate(**told | placed)

    def distances(self, batch: EventBatch) -> tuple[FloatArray, IntArray, FloatArray]:
        """(n,) distance to the client's nearest recent query: inf where there is none, NaN where unknown; (n,) of how
        many it is the nearest; (n,) whether it differs from that by one size.
        """
        names = predicted(batch)
        distance, recent, told = self._visits(batch, names, positions(names, self._code.labels))
        return distance, recent, told[STAMPED]

    def _visits(self, batch: EventBatch, names: ObjectArray, label: IntArray) -> tuple[FloatArray, IntArray, _Columns]:
        distance, recent = np.full(len(batch), np.nan), np.zeros(len(batch), dtype=np.int64)
        told = {name: np.full(len(batch), np.nan) for name in (STAMPED, *WALK, *MIRRORS)}
        if batch.client_id is not None and len(batch):
            coded, present = self._code.project(batch)
            numbers = self._code.stamps.numbers(batch)
            named = np.array([name is not None for name in names.tolist()], dtype=bool)
            notes = new_notes(label, named, confidence(batch))
            limit = self._code.walk[label]
            for client, index in clients_of(batch.client_id):
                rows = index[present[index]]
                ring = self._rings.get(client) or _Ring.empty(numbers.shape[1])
                recent[rows] = _recent(len(ring.notes), len(rows), self._capacity)
                self._visit(ring, rows, coded[rows], numbers[rows], notes[rows], limit[rows], distance, told)
                self._rings[client] = ring
                self._rings.move_to_end(client)
                while len(self._rings) > self._max_clients:
                    self._rings.popitem(last=False)
        return distance, recent, told

    def _visit(
        self,
        ring: _Ring,
        rows: IntArray,
        coded: NDArray[np.float16],
        numbers: NDArray[np.int16],
        notes: NDArray[np.void],
        limit: FloatArray,
        distance: FloatArray,
        told: _Columns,
    ) -> None:
        for first in range(0, len(rows), _BLOCK):
            block = slice(first, first + _BLOCK)
            found, best = compare(ring.coded, coded[block], self._capacity)
            ring.add(coded[block], numbers[block], notes[block])
            told[STAMPED][rows[block]] = stamped(ring.numbers, best, self._weights, self._capacity)
            near = Arrivals(ring.coded, ring.notes, best, found, limit[block], self._code.same, self._capacity)
            for name, values in {**follow(near, ring.chains), **mirror(near)}.items():
                told[name][rows[block]] = values
            distance[rows[block]] = found
            ring.chains += len(found)
            ring.cut(self._capacity)


def fit_rings(
    batch: EventBatch, source: VectorMap, label: IntArray, labels: tuple[str, ...], seed: int
) -> tuple[RingCode, Nearness]:
    """The ring code with limits from honest clients, and how near the reference's own events lie to recent ones.

    Nothing but these arguments decides it, so every detector that is fitted on the same reference gets the same code.
    """
    none, never = np.zeros((len(labels) + 1, len(LEVELS))), np.full((len(labels) + 1, len(RECENT_FROM)), np.inf)
    projection = random_projection(source.width, np.random.default_rng([seed, 1]))
    stamps = Stamps.fit(source, batch, np.random.default_rng([seed, 2]))
    open_code = RingCode(source, projection, labels, 0.0, none, never, none[:, 0], stamps)
    distance, recent, stamp = ClientRings(open_code, max_clients=len(batch)).distances(batch)
    known = np.isfinite(distance)
    same = max(2e-3, 0.02 * float(np.median(distance[known]))) if known.any() else 2e-3
    new = known & (distance > same)
    near, apart, walk = none.copy(), never, none[:, 0].copy()
    if new.sum() >= MIN_DISTANCES:
        by_size = _quarters(distance[new], recent[new])
        for c in range(len(labels), -1, -1):
            own = new & (label == c) if c < len(labels) else new
            known_to = own if own.sum() >= MIN_DISTANCES else new
            near[c], walk[c] = np.quantile(distance[known_to], LEVELS), _walk_limit(distance[known_to])
            apart[c] = by_size * np.quantile(distance[known_to], 1.0 - APART_SHARE)
    code = replace(open_code, same=same, near=near, apart=apart, walk=walk)
    return code, code.nearness(distance, label, recent, stamp)


def _quarters(distance: FloatArray, recent: IntArray) -> FloatArray:
    """(len(RECENT_FROM),) the ``apart`` limit by number of recent queries, in units of that of all distances."""
    size, whole = np.searchsorted(RECENT_FROM, recent, side="right") - 1, np.quantile(distance, 1.0 - APART_SHARE)
    out, last = np.ones(len(RECENT_FROM)), 1.0
    for i in range(len(RECENT_FROM)):
        if (size == i).sum() >= MIN_DISTANCES:
            last = float(np.quantile(distance[size == i], 1.0 - APART_SHARE) / max(whole, 1e-12))
        out[i] = last
    return out


def _walk_limit(distance: FloatArray) -> float:
    """Half the usual distance, but so that between ``LEVELS[-1]`` and a quarter of honest queries lie nearer.

    Half the median hardly moves when one client in ten sends queries that are all nearly equal; a low quantile does.
    """
    low, quarter, middle = np.quantile(distance, [LEVELS[-1], 0.25, 0.5])
    return float(max(low, min(quarter, 0.5 * middle)))


def compare(ring: NDArray[np.float16], new: NDArray[np.float16], capacity: int) -> tuple[FloatArray, IntArray]:
    """(m,) distance of each new row to the nearest of the ``capacity`` rows before it, inf where there is none, and
    (m,) the position of that row among ring and new rows.
    """
    rows = new.astype(np.float32)
    before = np.concatenate([ring.astype(np.float32), rows])
    squared = np.einsum("ij,ij->i", rows, rows)[:, None] + np.einsum("ij,ij->i", before, before)
    squared -= 2.0 * (rows @ before.T)
    place = len(ring) + np.arange(len(rows))
    column = np.arange(len(before))
    squared[(column >= place[:, None]) | (column < place[:, None] - capacity)] = np.inf
    if not squared.size:
        return np.full(len(rows), np.inf), np.zeros(len(rows), dtype=np.int64)
    best = squared.argmin(axis=1)
    gap = rows - before[best]
    out: FloatArray = np.sqrt(np.einsum("ij,ij->i", gap, gap)).astype(np.float64)
    out[np.isinf(squared[np.arange(len(rows)), best])] = np.inf
    return out, best


def clients_of(client_id: ObjectArray) -> list[tuple[str, IntArray]]:
    """Each named client with the positions of its events, in arrival order of the client and of the events."""
    groups: dict[str, list[int]] = {}
    for i, client in enumerate(client_id.tolist()):
        if client:
            groups.setdefault(client, []).append(i)
    return [(client, np.array(index, dtype=np.int64)) for client, index in groups.items()]

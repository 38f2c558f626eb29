"""Volume: how much one client asks for, against its own past, against honest clients, and against what all do today.

Cost is a matter of totals, so a client is judged by its busiest pane, its busiest hour and its whole day (periods of an
hour, where the reference is shorter than three days). Running values are compared with what whole days used to be: a
nightly batch is as large tonight as it was last night, whenever it comes, and a flood is found as soon as it passes
what a whole day may hold. Volumes are compared as logarithms; beyond the reference's most unusual tenth of client-days
the tail is exponential there, which is a power law of the volume itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray

DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0
BODY: Final = 0.1
MOST_DAYS: Final = 30.0
_FEWEST_PERIODS: Final = 3
_LEAST_SCALE: Final = 0.12
_DEFAULT: Final = (0.8, 0.5)
_RISE_PER_DAY: Final = float(np.log(3.0))
MOST_PEERS: Final = 256
_CALENDAR: Final = 2.11
"""Sum of 1 / (k ln² k) over k = 2, 3, ...: the shares of a client's days sum to one."""
FIELDS: Final = ("period", "days", "looked", "hours")
"""Period now, days of past, days judged, hours of today with events (bits); then four numbers a window, see below."""
_PER_WINDOW: Final = 4
"""Slot now, its volume, the busiest so far today, mean log of the busiest of past days."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """P(log volume beyond the expected by z) = ``BODY`` exp(-(z - body) / scale) beyond ``body``; (w,) each."""

    body: FloatArray
    scale: FloatArray

    def log_p(self, z: FloatArray, stretch: float = 1.0) -> FloatArray:
        beyond = (z - self.body * stretch) / (self.scale * stretch)
        return np.where(beyond > 0, np.log(BODY) - beyond, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Volumes:
    """What honest clients ask for.

    Attributes:
        widths: (w,) seconds of the windows, the last is the period.
        centre: (w,) log of the busiest window of a typical client's day; high: (w,) of one client in four.
        between, within: tails of a client of unknown past, and of a client beside its own past.
        trust: (w,) days of past that weigh as much as what is known of all clients.
        calibration: in words.
    """

    widths: FloatArray
    centre: FloatArray
    high: FloatArray
    between: Tail
    within: Tail
    trust: FloatArray
    calibration: str

    @property
    def period_s(self) -> float:
        return float(self.widths[-1])

    @property
    def n_fields(self) -> int:
        return len(FIELDS) + _PER_WINDOW * len(self.widths)

    @classmethod
    def fit(
        cls, timestamp: FloatArray, client: IntArray, weight: FloatArray, n_clients: int, pane_s: float
    ) -> tuple[Self, FloatArray, FloatArray] | None:
        """Volumes, and (c,) days and (c, w) mean logs of each client's past; None where the reference is too short.

        Args:
            timestamp, client, weight: (n,) of events in order of time; ``weight`` is events of traffic for each.
        """
        span = float(timestamp[-1] - timestamp[0]) if len(timestamp) else 0.0
        period = next((p for p in (DAY_S, HOUR_S) if span >= _FEWEST_PERIODS * p and p >= pane_s), None)
        if period is None:
            return None
        widths = np.unique([min(pane_s, period), min(HOUR_S, period), period])
        busiest = _busiest(timestamp, client, weight, widths, _whole_periods(timestamp, period))
        if not busiest:
            return None
        days = np.array([len(busiest.get(c, ())) for c in range(n_clients)], dtype=np.float64)
        means = np.zeros((n_clients, len(widths)))
        for c, rows in busiest.items():
            means[c] = rows.mean(axis=0)
        firsts = np.array([rows[0] for rows in busiest.values()])
        centre = np.median(firsts, axis=0)
        steps = [rows - np.mean(rows, axis=0) for rows in busiest.values() if len(rows) >= 2]
        freedom = max(1, sum(len(rows) - 1 for rows in steps))
        inside = sum((np.sum(s**2, axis=0) for s in steps), np.zeros(len(widths))) / freedom + 0.02
        across = np.maximum(np.var(firsts, axis=0) - inside, 0.02)
        trust = np.asarray(inside / across)
        errors = [_surprises(rows, centre, trust) for rows in busiest.values() if len(rows) >= 2]
        between = _tail(firsts - centre, len(busiest))
        few = not errors or sum(map(len, errors)) < 30
        default = Tail(*(np.full(len(widths), v) for v in _DEFAULT))
        within = default if few else _tail(np.concatenate(errors), len(errors))
        word = "days" if period == DAY_S else "hours"
        known = f"{int(days.sum())} client-{word} of {len(busiest)} clients in the reference"
        high = np.quantile(firsts, 0.75, axis=0)
        return cls(widths, centre, high, between, within, trust, known), days, means

    def new_state(self) -> FloatArray:
        state = np.zeros(self.n_fields)
        state[0] = -1.0
        return state

    def with_past(self, days: float, means: FloatArray) -> FloatArray:
        """The state of a client that the reference knows."""
        state = self.new_state()
        state[1] = min(days, MOST_DAYS)
        self._windows(state)[:, 3] = means
        return state

    def after(self, state: FloatArray, start: float, volume: float) -> FloatArray:
        """The state after a pane that begins at ``start`` and stands for ``volume`` events."""
        out = state.copy()
        windows = self._windows(out)
        period = float(np.floor(start / self.period_s))
        if period > out[0]:
            if out[0] >= 0:
                self._close(out)
            out[0], out[2], out[3] = period, out[2] + 1, 0.0
            windows[:, 0], windows[:, 1], windows[:, 2] = -1.0, 0.0, 0.0
        slot = np.floor(start / self.widths)
        windows[:, 1] = np.where(slot > windows[:, 0], 0.0, windows[:, 1]) + volume
        windows[:, 0] = np.maximum(slot, windows[:, 0])
        windows[:, 2] = np.maximum(windows[:, 2], windows[:, 1])
        out[3] = float(int(out[3]) | (1 << int(start % DAY_S // HOUR_S)))
        return out

    def surprise(self, state: FloatArray) -> FloatArray:
        """(w,) log of today's busiest windows so far, less what a whole day of this client should hold."""
        days = state[1]
        windows = self._windows(state)
        usual = (days * windows[:, 3] + self.trust * self.centre) / (days + self.trust)
        if days >= 1:
            usual = np.maximum(usual, windows[:, 3])
        return np.asarray(np.log1p(windows[:, 2]) - usual)

    def log_p(self, state: FloatArray, rise: FloatArray) -> float:
        """Natural log of the p-value of today so far, where everybody's volume rose by ``rise`` (w,).

        The best of the windows that are large counts, and its price is paid: 0 where none is.
        """
        z = self.surprise(state) - np.maximum(rise, 0.0)
        days = state[1]
        found = self.between.log_p(z) if days < 1 else self.within.log_p(z, float(np.sqrt(1.0 + 1.0 / days)))
        best = float(np.where(self.is_large(state), found, 0.0).min())
        return min(0.0, best + float(np.log(len(self.widths))))

    def log_share(self, state: FloatArray) -> float:
        """Natural log of the part of a client's lifetime of false alarms that today may use."""
        k = max(float(state[2]), 1.0) + 1.0
        return -float(np.log(_CALENDAR * k * np.log(k) ** 2))

    def today(self, state: FloatArray) -> FloatArray:
        """(w,) volume of today's busiest windows so far."""
        return np.asarray(self._windows(state)[:, 2])

    def usual(self, state: FloatArray) -> FloatArray:
        """(w,) volume that a whole day of this client should hold in its busiest windows."""
        return np.asarray(np.expm1(np.log1p(self.today(state)) - self.surprise(state)))

    def is_large(self, state: FloatArray) -> NDArray[np.bool_]:
        """(w,) whether today's busiest windows would be large for one honest client in four: small change is none."""
        return np.asarray(np.log1p(self.today(state)) >= self.high)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        tails = [self.between.body, self.between.scale, self.within.body, self.within.scale]
        return {"volumes": np.stack([self.widths, self.centre, self.high, self.trust, *tails])}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], calibration: str) -> Self:
        widths, centre, high, trust, a, b, c, d = arrays["volumes"].astype(np.float64)
        return cls(widths, centre, high, Tail(a, b), Tail(c, d), trust, calibration)

    def _windows(self, state: FloatArray) -> FloatArray:
        return state[len(FIELDS) :].reshape(len(self.widths), _PER_WINDOW)

    def _close(self, state: FloatArray) -> None:
        """Today becomes past; a day counts at most threefold of what was usual, so that a flood is not learned."""
        windows = self._windows(state)
        days = min(state[1], MOST_DAYS - 1.0)
        busiest = np.log1p(windows[:, 2])
        if days >= 1:
            busiest = np.minimum(busiest, windows[:, 3] + _RISE_PER_DAY)
        windows[:, 3] = (days * windows[:, 3] + busiest) / (days + 1.0)
        state[1] = days + 1.0


@dataclass(frozen=True, slots=True, eq=False)
class VolumeWatch:
    """Volumes, the past of the clients that the reference knows, and ``part`` of a client's false alarms to use."""

    volumes: Volumes
    known: Mapping[str, tuple[float, FloatArray]]
    part: float

    @property
    def n_windows(self) -> int:
        return len(self.volumes.widths)

    def after(self, client: str, stored: FloatArray | None, start: float, volume: float) -> FloatArray:
        """A client's state after a pane: stored, known from the reference, or new."""
        if stored is not None and stored.shape == (self.volumes.n_fields,):
            state = np.asarray(stored, dtype=np.float64)
        elif client in self.known:
            state = self.volumes.with_past(*self.known[client])
        else:
            state = self.volumes.new_state()
        return self.volumes.after(state, start, volume)

    def ask(self, client: int, day: FloatArray, crowd: Crowd) -> Asked:
        """What a client's day so far says, beside that of the crowd."""
        large = self.volumes.is_large(day)
        calm = np.zeros(self.n_windows)
        alone = not any(other != client for other in crowd.table)
        if not large.any() or self.volumes.log_p(day, calm) >= 0:
            return self._asked(day, calm, large, 0.0, alone)
        rise, n_peers = crowd.rise(client, float(day[0]), self.n_windows)
        evidence = -self.volumes.log_p(day, rise) + self.volumes.log_share(day) + float(np.log(self.part))
        return self._asked(day, rise, large, evidence, n_peers < 1)

    def _asked(
        self, day: FloatArray, rise: FloatArray, large: NDArray[np.bool_], evidence: float, alone: bool
    ) -> Asked:
        beyond = self.volumes.surprise(day) - rise
        window = int(np.argmax(np.where(large, beyond, -np.inf)))
        return Asked(evidence, float(np.exp(beyond[window])), window, rise, alone)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What the volume of one client's day says: evidence, times the expected, in which window, and alone or not."""

    evidence: float
    fold: float
    window: int
    rise: FloatArray
    alone: bool


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """How far the day of each client of late lies beyond its past: client → (period, (w,) log surprise)."""

    table: Mapping[int, tuple[float, FloatArray]]

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, n_windows: int) -> Self:
        if not arrays or arrays["surprise"].shape[1:] != (n_windows,):
            return cls({})
        rows = zip(arrays["keys"].tolist(), arrays["periods"].tolist(), arrays["surprise"], strict=True)
        return cls({int(key): (float(period), row) for key, period, row in rows})

    def to_arrays(self, n_windows: int) -> dict[str, NDArray[np.generic]]:
        kept = sorted(self.table.items(), key=lambda item: (-item[1][0], item[0]))[:MOST_PEERS]
        return {
            "keys": np.array([key for key, _ in kept], dtype=np.int64),
            "periods": np.array([period for _, (period, _) in kept]),
            "surprise": np.array([row for _, (_, row) in kept]).reshape(len(kept), n_windows),
        }

    def rise(self, client: int, period: float, n_windows: int) -> tuple[FloatArray, int]:
        """(w,) rise of everybody but ``client`` in this period, and how many clients say so."""
        others = [row for key, (p, row) in self.table.items() if key != client and p == period]
        return everybodys_rise(others, n_windows), len(others)


def has_past(state: FloatArray) -> bool:
    """Whether anything is known of a client's earlier days."""
    return bool(state[1] >= 1)


def hours_active(state: FloatArray) -> int:
    """In how many hours of today a client has asked for anything."""
    return int(state[3]).bit_count()


def _whole_periods(timestamp: FloatArray, period: float) -> tuple[float, float]:
    """First and last period of the reference that it may cover whole."""
    first, last = np.floor(timestamp[0] / period), np.floor(timestamp[-1] / period)
    if last - first >= _FEWEST_PERIODS:
        first += float(timestamp[0] % period > 0.05 * period)
        last -= float(timestamp[-1] % period < 0.95 * period)
    return float(first), float(last)


def _busiest(
    timestamp: FloatArray, client: IntArray, weight: FloatArray, widths: FloatArray, periods: tuple[float, float]
) -> dict[int, FloatArray]:
    """Client → (days, w) log volume of its busiest windows in each of its periods with events."""
    out: dict[int, list[FloatArray]] = {}
    period = np.floor(timestamp / widths[-1])
    kept = (period >= periods[0]) & (period <= periods[1])
    timestamp, client, weight, period = timestamp[kept], client[kept], weight[kept], period[kept]
    order = np.lexsort((timestamp, period, client))
    timestamp, client, weight, period = timestamp[order], client[order], weight[order], period[order]
    edges = np.flatnonzero((np.diff(client, prepend=-1) != 0) | (np.diff(period, prepend=-1.0) != 0))
    for rows in np.split(np.arange(len(client)), edges[1:] if len(edges) else []):
        if len(rows):
            slots = [np.unique(np.floor(timestamp[rows] / w), return_inverse=True)[1] for w in widths]
            sums = [float(np.bincount(slot, weights=weight[rows]).max()) for slot in slots]
            out.setdefault(int(client[rows[0]]), []).append(np.log1p(np.array(sums)))
    return {c: np.array(days) for c, days in out.items()}


def _surprises(rows: FloatArray, centre: FloatArray, trust: FloatArray) -> FloatArray:
    """(days - 1, w) how far each day lies beyond what the days before it make one expect."""
    n = np.arange(1, len(rows))[:, None]
    before = np.cumsum(rows, axis=0)[:-1] / n
    usual = np.maximum((n * before + trust * centre) / (n + trust), before)
    return np.asarray((rows[1:] - usual) / np.sqrt(1.0 + 1.0 / n))


def _tail(errors: FloatArray, n_clients: int) -> Tail:
    """Level of the highest ``BODY`` share, and mean excess beyond it, enlarged for what few clients cannot show."""
    body = np.quantile(errors, 1.0 - BODY, axis=0)
    beyond = np.maximum(errors - body, 0.0)
    n = np.maximum((beyond > 0).sum(axis=0), 1)
    caution = 1.0 + 1.5 / np.sqrt(min(n_clients, 200) * BODY + 1.0)
    scale = np.maximum(beyond.sum(axis=0) / n * caution, _LEAST_SCALE)
    return Tail(np.maximum(body, 0.05), scale)


def everybodys_rise(logs: Sequence[FloatArray], n_windows: int) -> FloatArray:
    """(w,) rise that other clients show today: of the upper quartile, or of the most risen of fewer than four."""
    if not logs:
        return np.zeros(n_windows)
    table = np.stack(logs)
    top = np.quantile(table, 0.75, axis=0) if len(table) >= 4 else table.max(axis=0)
    return np.asarray(np.maximum(top, 0.0))

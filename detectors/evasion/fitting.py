"""Fitting: from a reference batch to the ring code and to how honest clients walk."""

from __future__ import annotations

from detectors.base import Unfit
from detectors.batch import EventBatch
from detectors.clients.labels import common_labels, positions, predicted
from detectors.clients.rings import ClientRings, RingCode, clients_of, fit_rings
from detectors.clients.sample import MIN_ROWS, chosen
from detectors.clients.space import MIN_CLASS_ROWS
from detectors.clients.vectors import view_maps
from detectors.evasion.honest import Baseline
from detectors.evasion.tally import Tally, contributions
from detectors.schema import Schema


def fit(reference: EventBatch, schema: Schema, seed: int) -> tuple[RingCode, Baseline] | Unfit:
    """Learn how honest clients walk; the reference is in event-time order.

    The ring code is the one that extraction fits on the same reference and seed, so that both read one memory.
    """
    if reference.client_id is None or not any(reference.client_id):
        return Unfit("no client ids in the reference: walks are judged per client, so log client_id")
    maps = view_maps(reference, schema)
    if not maps or maps[-1].view == "scores":
        return Unfit("no features or embeddings in the reference: nothing to tell near repeats of a query by")
    kept = reference.take(chosen(reference, sum(m.width for m in maps)))
    if len(kept) < MIN_ROWS:
        return Unfit(f"only {len(kept)} events with a client id in the reference: at least {MIN_ROWS} are needed")
    labels = common_labels(kept, MIN_CLASS_ROWS)
    if len(labels) < 2:
        return Unfit("fewer than two predicted classes in the reference: a walk shows where the predicted class flips")
    code, _ = fit_rings(kept, maps[-1], positions(predicted(kept), labels), labels, seed)
    if not code.walk.any():
        return Unfit("too few queries a client in the reference to tell which queries are near: a hundred are needed")
    annotated = ClientRings(code, max_clients=len(kept)).annotate(kept)
    added = contributions(annotated)
    assert kept.client_id is not None
    return code, Baseline.fit([Tally(added[index].sum(axis=0)) for _, index in clients_of(kept.client_id)])

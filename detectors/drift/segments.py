"""Segments: parts of the traffic (a region, a device) that are watched on their own.

A drift in one small part of the traffic can drown in the whole. The values of the segment keys that events declare get
charts of their own, the largest first, each with a part of the model's budget by the traffic it carries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.base import Subject, SubjectType
from detectors.batch import EventBatch, IntArray
from detectors.drift.columns import CodeArray
from detectors.drift.digitise import count_groups
from detectors.keys import client_key

BUDGET_SHARE = 0.15
"""Part of the drift budget that segments share, where there are any."""
MOST_SEGMENTS = 16
_MOST_COLUMNS = 4_000
"""Watched columns of all segments together."""
FEWEST_EVENTS = 300
"""Reference events that a segment needs before anything is bet on it."""
_MOST_OF_TRAFFIC = 0.9
"""A segment that is nearly all of the traffic is the model itself."""


def choose_segments(reference: EventBatch, n_columns: int) -> list[str]:
    """``key=value`` names of the segments to watch, largest first."""
    sizes: dict[str, int] = {}
    for key, values in reference.segments.items():
        for name, members in members_of(key, values).items():
            sizes[name] = int(members.sum())
    most = min(MOST_SEGMENTS, _MOST_COLUMNS // max(n_columns, 1))
    ranked = sorted(sizes, key=lambda name: (-sizes[name], name))
    return [name for name in ranked if FEWEST_EVENTS <= sizes[name] <= _MOST_OF_TRAFFIC * len(reference)][:most]


def members_of(key: str, values: NDArray[np.object_]) -> dict[str, NDArray[np.bool_]]:
    """``key=value`` → (n,) which events carry that value."""
    texts = np.array(["" if value is None else str(value) for value in values.tolist()], dtype=object)
    return {segment_name(key, value): texts == value for value in set(texts.tolist()) if value}


def segment_name(key: str, value: str) -> str:
    return client_key(f"{key}={value}")


def subject_of(name: str) -> Subject:
    return Subject(SubjectType.SEGMENT, name)


def segment_counts(
    batch: EventBatch, codes: CodeArray, starts: IntArray, watched: Sequence[str]
) -> list[dict[str, IntArray]]:
    """Per slice, segment → (columns, N_BINS) counts of its events; a segment without any is left out.

    Args:
        codes: (n, columns) bins of the batch's events; starts: (m,) first event of each slice.
    """
    found: list[dict[str, IntArray]] = [{} for _ in starts]
    number = {name: i for i, name in enumerate(watched)}
    slice_of = np.searchsorted(starts, np.arange(len(batch)), side="right") - 1
    for key, values in batch.segments.items() if watched else ():
        member = np.full(len(batch), -1, dtype=np.int64)
        for name, members in members_of(key, values).items():
            if name in number:
                member[members] = number[name]
        if not (member >= 0).any():
            continue
        group = np.where(member >= 0, slice_of * len(watched) + member, -1)
        present, compact = np.unique(group[group >= 0], return_inverse=True)
        group[group >= 0] = compact
        for which, counts in zip(present.tolist(), count_groups(codes, group, len(present)), strict=True):
            found[which // len(watched)][watched[which % len(watched)]] = counts
    return found

"""History: what each client of the reference did there, so that nobody is accused of being who they always were.

A client is judged twice, as one of its peers and as itself, and the milder answer counts. Its own past is trusted as
far as it goes: n queries of the past weigh against the scatter between honest clients as n to 1 / variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.extraction.wagers import WAGERS

MAX_KNOWN = 5_000
MIN_PAST = 5
_COUNTS = 5 + len(WAGERS)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One client's fresh queries in the reference: counts, and the mean of their channel rows (d,).

    ``won`` (6,): what each of ``WAGERS`` won; ``near``: near repeats, narrow and wide, and stamped ones.
    """

    fresh: float
    won: FloatArray
    compared: float
    near: tuple[float, float, float]
    mean: FloatArray


def known_to_arrays(known: Mapping[str, History]) -> dict[str, NDArray[np.generic]]:
    """Arrays of the histories, those with most queries when there are more than ``MAX_KNOWN``."""
    kept = sorted(known.items(), key=lambda item: (-item[1].fresh, item[0]))[:MAX_KNOWN]
    if not kept:
        return {}
    counts = [(h.fresh, h.compared, *h.near, *h.won) for _, h in kept]
    return {
        "known": np.array([key for key, _ in kept], dtype=np.str_),
        "known_counts": np.array(counts, dtype=np.float64),
        "known_means": np.array([h.mean for _, h in kept], dtype=np.float32),
    }


def known_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, History]:
    """Inverse of ``known_to_arrays``."""
    if "known" not in arrays:
        return {}
    counts: Sequence[Sequence[float]] = arrays["known_counts"].reshape(-1, _COUNTS).tolist()
    means = arrays["known_means"].astype(np.float64)
    rows = zip(arrays["known"].tolist(), counts, means, strict=True)
    return {str(key): History(c[0], np.array(c[5:]), c[1], (c[2], c[3], c[4]), mean) for key, c, mean in rows}

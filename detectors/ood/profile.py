"""Profile: what a wide row looks like as a whole, in a handful of numbers.

Two rows of pixels with the same distance to everything can still differ in brightness, contrast, share of background
or smoothness; blurred, inverted, faded or noisy inputs move these together. Used where a row has at least
``MIN_WIDTH`` numbers.
"""

from __future__ import annotations

import numpy as np

from detectors.batch import FloatArray

MIN_WIDTH = 16


LARGEST = 1e12


def profile(numeric: FloatArray, centre: FloatArray) -> FloatArray:
    """(n, 8) of rows (n, p), numbers that are missing or infinite taken at their column's ``centre``.

    Mean, log spread, skewness, log tail weight, log roughness, root of the share near the least value and of the share
    of half-tones, log of the largest size.
    """
    rows = np.clip(np.where(np.isfinite(numeric), numeric, centre), -LARGEST, LARGEST)
    mean = rows.mean(axis=1)
    centred = rows - mean[:, None]
    spread = np.sqrt((centred * centred).mean(axis=1)) + 1e-9
    z = centred / spread[:, None]
    square = z * z
    size = np.abs(rows)
    rough = np.abs(np.diff(rows, axis=1)).mean(axis=1)
    least = rows.min(axis=1)[:, None]
    width = np.ptp(rows, axis=1)[:, None] + 1e-9
    return np.stack(
        [
            mean,
            np.log(spread),
            np.cbrt((square * z).mean(axis=1)),
            np.log((square * square).mean(axis=1) + 1e-9),
            np.log(rough / spread + 1e-6),
            np.sqrt((rows < least + 0.02 * width).mean(axis=1)),
            np.sqrt((np.abs(rows - least - 0.5 * width) < 0.4 * width).mean(axis=1)),
            np.log(size.max(axis=1) + 1e-9),
        ],
        axis=1,
    )

"""Heads: four questions about a client's walks, each a p-value under "a client that does not act on the answers".

A walk as such accuses nobody: cameras, sensors, what-if tools and test-time augmentation all send queries that nearly
repeat their own. W1 asks whether the predicted class flips inside chains more often than between the near neighbours of
honest clients. The others ask whether the client's next move depends on the answer to its last try, by the exact
test of a two-by-two table whose odds ratio may honestly be up to ``HONEST_ODDS``, since geometry alone couples the two:
a large jump both changes the answer more often and is followed by a return more often.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from detectors.evasion.tally import Tally

HONEST_ODDS = 3.0
MOST_COUNTED = 4_000
HEADS = ("W1", "W2", "W3", "W4")


def table_log_p(liked_on: int, liked_back: int, other_on: int, other_back: int, odds: float = HONEST_ODDS) -> float:
    """Ln P(at least ``liked_on``) under Fisher's noncentral hypergeometric distribution with this odds ratio.

    Exact given the margins of the table. Larger tables are scaled down to ``MOST_COUNTED`` moves.

    >>> round(float(np.exp(table_log_p(3, 0, 0, 3, odds=1.0))), 3)
    0.05
    """
    table = np.array([liked_on, liked_back, other_on, other_back], dtype=np.float64)
    if table.sum() > MOST_COUNTED:
        table = np.rint(table * (MOST_COUNTED / table.sum()))
    a, b, c, d = table.tolist()
    liked, other, on = a + b, c + d, a + c
    low, high = max(0.0, on - other), min(liked, on)
    if low == high:
        return 0.0
    k = np.arange(low, high + 1.0)
    logs = k * np.log(odds) - sum(special.gammaln(x + 1.0) for x in (k, liked - k, on - k, other - on + k))
    return float(min(0.0, special.logsumexp(logs[k >= a]) - special.logsumexp(logs)))


def pursuit_log_p(tally: Tally) -> tuple[float, float, float]:
    """Ln p-values of W2 (goes on when the margin fell), W3 (goes on when it rose), W4 (goes back when the class flipped)."""
    fell_on, fell_back, rose_on, rose_back = (tally[x] for x in ("fell_on", "fell_back", "rose_on", "rose_back"))
    return (
        table_log_p(fell_on, fell_back, rose_on, rose_back),
        table_log_p(rose_on, rose_back, fell_on, fell_back),
        table_log_p(tally["kept_on"], tally["kept_back"], tally["flipped_on"], tally["flipped_back"]),
    )

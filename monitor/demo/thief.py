"""A published extraction strategy: Jacobian-based dataset augmentation (Papernot et al., "Practical black-box attacks
against machine learning", 2017, §4).

The thief owns a few real inputs, has them labelled by the victim, trains a substitute, and steps every input along the
sign of the substitute's Jacobian for the label it got; the stepped inputs are the next queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from detectors.batch import FloatArray
from monitor.demo.clients import INK

_SEEDS_PER_CLASS = 5
_STEP = 0.1 * INK


class JacobianThief:
    """Yields the queries of one theft, in the order in which they are sent."""

    def __init__(
        self,
        answer: Callable[[FloatArray], FloatArray],
        images: FloatArray,
        digits: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        self._answer = answer
        self._rng = rng
        chosen = [rng.choice(np.flatnonzero(digits == d), _SEEDS_PER_CLASS, replace=False) for d in range(10)]
        self._seeds = images[np.concatenate(chosen)]

    def queries(self, n: int) -> Iterator[FloatArray]:
        """(64,) images; at most ``n`` of them."""
        known = self._seeds
        sent = 0
        fresh = known
        while sent < n:
            for row in fresh[: n - sent]:
                sent += 1
                yield row
            labels = self._answer(known).argmax(axis=1)
            fresh = self._augment(known, labels)
            known = np.concatenate([known, fresh])

    def _augment(self, known: FloatArray, labels: NDArray[np.intp]) -> FloatArray:
        substitute = LogisticRegression(max_iter=200)
        substitute.fit(known / INK, labels)
        position = {int(label): i for i, label in enumerate(substitute.classes_)}
        gradient = np.stack([substitute.coef_[position[int(label)]] for label in labels])
        direction = np.sign(gradient) * self._rng.choice([-1.0, 1.0], size=(len(known), 1))
        return np.asarray(np.clip(known + _STEP * direction, 0, INK))

"""What an analyst reads first: the share that is most out of the ordinary."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from detectors.extraction.channels import EDGES, FOURIER
from detectors.extraction.verdict import Answers, Apart, LogP
from detectors.extraction.words import shares


def test_uncommon_answers_are_read_from_the_last_conformal_channel() -> None:
    mean, centre = np.zeros(2 * len(EDGES) + 2 * FOURIER), np.zeros(2 * len(EDGES) + 2 * FOURIER)
    mean[len(EDGES) + int(np.flatnonzero(EDGES == 0.1)[0])] = 0.25
    mean[len(EDGES) + int(np.flatnonzero(EDGES == 0.9)[0])] = -0.3
    assert Answers.of(mean, centre, harder=True) == Answers(True, pytest.approx(0.35), pytest.approx(0.1))
    assert Answers.of(mean, centre, harder=False) == Answers(False, pytest.approx(0.4), pytest.approx(0.1))


@pytest.mark.parametrize(
    ("log_p", "itself", "said"),
    [
        (
            (-9.0, -1.0, 0.0, -7.0, 0.0, 0.0),
            0.0,
            "35 % of answers are less sure than 9 in 10 of their class (peers 10 %)",
        ),
        (
            (-9.0, -8.0, 0.0, -7.0, 0.0, 0.0),
            0.0,
            "31 % of queries are rarer than 1 in 100 for their class (peers 1.0 %)",
        ),
        (
            (-9.0, -8.0, 0.0, -7.0, 0.0, 0.0),
            -20.0,
            "it behaves unlike its own past, and 31 % of queries are rarer than 1 in 100 for their class (peers 1.0 %)",
        ),
        (
            (-9.0, -8.0, 0.0, -7.0, -8.5, -8.7),
            0.0,
            "26 % of queries differ from one of the sender's own by steps of one size",
        ),
        (
            (-9.0, -8.0, 0.0, -7.0, -8.5, 0.0),
            0.0,
            "only 3.0 % of queries come near one of the sender's own (peers 25 %)",
        ),
    ],
)
def test_the_sentence_follows_the_head_that_says_most(log_p: tuple[float, ...], itself: float, said: str) -> None:
    finding = SimpleNamespace(
        log_p=LogP(*log_p),
        itself=itself,
        answers=Answers(True, 0.35, 0.1),
        near=0.02,
        near_peers=0.01,
        strange=0.31,
        strange_peers=0.01,
        apart=Apart(0.97, 0.75, 100.0),
        stamped=0.26,
    )
    assert shares(finding) == said  # type: ignore[arg-type]

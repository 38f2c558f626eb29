"""The model's last layer: ViM as its paper has it, and a head that is another model's is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detectors.base import Part
from detectors.batch import EventBatch
from detectors.ood.head import Head, Vim
from detectors.ood.scorer import OodScorer
from detectors.schema import infer_schema

RNG = np.random.default_rng(0)
WEIGHTS, BIAS = RNG.normal(size=(4, 24)), RNG.normal(size=4)
BASIS = RNG.normal(size=(6, 24))


def embeddings(n: int, seed: int, away: float = 0.0) -> np.ndarray:
    """Six directions and a little noise; ``away`` adds what is outside of them and what the head does not see."""
    rng = np.random.default_rng(seed)
    unseen = np.linalg.svd(np.vstack([WEIGHTS, BASIS]))[2][10:]
    rows = rng.normal(size=(n, 6)) @ BASIS + 0.3 * rng.normal(size=(n, 24))
    return rows + away * rng.normal(size=(n, len(unseen))) @ unseen


def events(rows: np.ndarray, logits: np.ndarray | None = None) -> EventBatch:
    ids = np.array([f"e{i}" for i in range(len(rows))], dtype=object)
    return EventBatch("m", "", ids, np.arange(len(rows), dtype=float), embedding=rows, logits=logits)


def test_vim_is_what_its_paper_says() -> None:
    rows, new = embeddings(400, 1), embeddings(50, 2, away=0.5)
    vim = Vim.learn(Head.of(WEIGHTS, BIAS), rows)
    origin = -np.matmul(np.linalg.pinv(WEIGHTS), BIAS)
    values, vectors = np.linalg.eig(np.cov((rows - origin).T, bias=True) + np.outer(*2 * [(rows - origin).mean(0)]))
    outside = np.ascontiguousarray(vectors.T[np.argsort(values * -1)[12:]].T)
    alpha = (rows @ WEIGHTS.T + BIAS).max(1).mean() / np.linalg.norm((rows - origin) @ outside, axis=1).mean()
    virtual = np.linalg.norm((new - origin) @ outside, axis=1) * alpha
    expected = virtual - np.log(np.exp(new @ WEIGHTS.T + BIAS).sum(axis=1))
    assert vim.scores(new) == pytest.approx(expected, rel=1e-6)


def test_with_a_head_the_scorer_has_vim_and_it_sees_what_the_classes_do_not_use() -> None:
    reference = events(embeddings(600, 1))
    part = OodScorer.fit(reference, infer_schema(reference), 0, Head.of(WEIGHTS, BIAS))
    assert isinstance(part, Part)
    scorer = OodScorer.build(part)
    assert "embedding.vim" in scorer.component_names
    normal, strange = scorer.score(events(embeddings(500, 3))), scorer.score(events(embeddings(500, 4, away=1.5)))
    truth = np.r_[np.zeros(500), np.ones(500)]
    assert roc_auc_score(truth, -np.r_[normal.components["embedding.vim"], strange.components["embedding.vim"]]) > 0.9
    assert roc_auc_score(truth, np.r_[normal.score, strange.score]) > 0.9
    assert 0.002 < np.mean(normal.p_value <= 0.01) < 0.03


def test_logged_logits_must_be_those_of_the_head() -> None:
    rows = embeddings(300, 1)
    head = Head.of(WEIGHTS, BIAS)
    logged = events(rows, head.logits(rows) + 3.0)
    assert isinstance(OodScorer.fit(logged, infer_schema(logged), 0, head), Part), "a constant does not matter"
    other = events(rows, head.logits(rows)[:, ::-1])
    with pytest.raises(ValueError, match="another model"):
        OodScorer.fit(other, infer_schema(other), 0, head)


@pytest.mark.parametrize(
    ("weights", "bias", "message"),
    [
        (np.ones((1, 24)), None, "at least two classes"),
        (np.ones((4, 24)), np.ones(5), "one number of bias"),
        (np.full((4, 24), np.nan), None, "finite"),
        (np.ones(4), None, "matrix"),
    ],
)
def test_what_is_no_head_is_refused(weights: np.ndarray, bias: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Head.of(weights, bias)


def test_weights_may_lie_on_their_side_where_the_bias_tells() -> None:
    assert np.array_equal(Head.of(WEIGHTS.T, BIAS).weights, WEIGHTS)


def test_a_head_of_another_width_and_a_log_without_embeddings_are_refused() -> None:
    rows = events(embeddings(100, 1))
    with pytest.raises(ValueError, match="takes embeddings of 9 numbers, the reference logs 24"):
        OodScorer.fit(rows, infer_schema(rows), 0, Head.of(np.ones((3, 9))))
    ids = np.array([str(i) for i in range(60)], dtype=object)
    bare = EventBatch("m", "", ids, np.arange(60.0), numeric_names=("x",), numeric=RNG.normal(size=(60, 1)))
    with pytest.raises(ValueError, match="logs no embedding"):
        OodScorer.fit(bare, infer_schema(bare), 0, Head.of(WEIGHTS))

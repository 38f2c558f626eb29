"""Training rows, as hashes under a key of the deployment: made from files, taken into a reference, unlocked to be used.

The key is derived from the deployment's secret and the model's name. It is in no file and no database: a process that
reads a stream derives it, and one without the secret looks nothing up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from detectors.batch import EventBatch, concatenate
from detectors.privacy.detector import PrivacyDetector, with_hashes, with_key
from detectors.privacy.hashes import HashSet, TrainingHashes, TrainingRows
from detectors.privacy.rows import RowCode, key_check
from detectors.reference import Reference
from monitor.errors import PermanentError
from monitor.history import ReadCounts, read_batches
from monitor.learning import Fit
from monitor.secret import DeploymentSecret
from monitor.sources.logs import named_faults

_ENOUGH_TO_SCALE = 20_000

log = structlog.get_logger(__name__)


def training_key(secret: DeploymentSecret, model: str) -> bytes:
    """The key under which the training rows of a model are hashed."""
    return secret.key("training rows", model)


def hash_training(
    files: Sequence[Path],
    model: str,
    secret: DeploymentSecret,
    leave_out: Iterable[str] = (),
    progress: Callable[[int], None] = lambda _records: None,
    counts: ReadCounts | None = None,
) -> TrainingHashes:
    """Hash the rows of training files; columns are read as those of a log are, labels and ids of events do not count.

    Raises:
        PermanentError: a file cannot be read, or holds no row of the model.
    """
    counts = counts or ReadCounts()
    batches = read_batches(files, model, counts, progress)
    first: list[EventBatch] = []
    for batch in batches:
        first.append(replace(batch, version=""))
        if sum(map(len, first)) >= _ENOUGH_TO_SCALE:
            break
    names = ", ".join(map(str, files))
    if not first:
        raise PermanentError(f"{names}: no readable row of model {model!r}")
    key = training_key(secret, model)
    head = concatenate(first)
    try:
        found = HashSet(RowCode.fit(head, leave_out), key)
    except ValueError as error:
        raise PermanentError(f"{names}: {error}") from error
    found.add(head)
    for batch in batches:
        found.add(batch)
    return found.hashes(model)


def training_hashes(path: Path, model: str, secret: DeploymentSecret | None) -> TrainingHashes:
    """The hashes of a file that ``hash_training`` made for this model under this secret.

    Raises:
        PermanentError: it is none, or was made for another model or under another secret.
    """
    try:
        with named_faults(path):
            hashes = TrainingHashes.from_bytes(path.read_bytes())
    except ValueError as error:
        raise PermanentError(f"{path}: {error}") from error
    if hashes.model != model:
        raise PermanentError(f"{path}: holds training rows of model {hashes.model!r}, not of {model!r}")
    if secret is None or key_check(training_key(secret, model)) != hashes.check:
        raise PermanentError(
            f"{path}: was hashed under another secret than this deployment's; hash the training rows again here"
        )
    return hashes


def fit_with_training(hashes: TrainingHashes, secret: DeploymentSecret, plain: Fit) -> Fit:
    """``plain``, and what it learns knows the training rows."""
    rows = TrainingRows(hashes, training_key(secret, hashes.model))

    def fit(events: EventBatch, version: str, seed: int, pane_s: int | None) -> Reference:
        if hashes.code.view == "features":
            _refuse_other_columns(hashes, events)
        reference = plain(rows.annotate(events), version, seed, pane_s)
        part = reference.parts.get(PrivacyDetector.name)
        if part is None:
            return reference
        return replace(reference, parts={**reference.parts, PrivacyDetector.name: with_hashes(part, hashes)})

    return fit


def unlocked(reference: Reference, secret: DeploymentSecret | None) -> Reference:
    """The reference with the key to its training rows, where it has some and ``secret`` is the one they need."""
    part = reference.parts.get(PrivacyDetector.name)
    if part is None or "hashes" not in part.facts:
        return reference
    key = None if secret is None else training_key(secret, reference.model)
    if key is None or key_check(key) != part.facts["hashes"]["check"]:
        log.warning("training rows cannot be looked up: they were hashed under another deployment secret")
        return reference
    return replace(reference, parts={**reference.parts, PrivacyDetector.name: with_key(part, key)})


def _refuse_other_columns(hashes: TrainingHashes, events: EventBatch) -> None:
    """A column that no query has would keep every row from being recognised."""
    missing = [name for name in hashes.code.columns if name not in set(events.feature_names)]
    if missing:
        named = ", ".join(missing[:10]) + (" and more" if len(missing) > 10 else "")
        raise PermanentError(
            f"the training rows have columns that the log of ordinary events lacks: {named}; hash them again with "
            "--leave-out for each"
        )

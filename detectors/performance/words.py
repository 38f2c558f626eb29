"""What a performance reading says, in one sentence."""

from __future__ import annotations

from detectors.performance.measure import Measure
from detectors.performance.metrics import Figure

NOTHING = "No answer of this pane came with a label or a probability."


def measured(measure: Measure, found: Figure, n_labels: int, refuted: Figure | None) -> str:
    """What labels say; ``refuted`` is an estimate that they do not bear out."""
    name, reference = measure.name.capitalize(), measure.reference()
    now, before = measure.words(found.value, reference)
    labels = f"measured on {n_labels:,} {'label' if n_labels == 1 else 'labels'}"
    if refuted is not None:
        guess = measure.words(refuted.value, found.value)[0]
        return f"{name} is {now} ({labels}), {before} in the reference; its estimate of {guess} is not borne out."
    if before == now or measure.drop(found.value) <= 0:
        return f"{name} is {now} ({labels}), {before} in the reference."
    verb = "fell" if found.value < reference else "rose"
    return f"{name} {verb} from {before} to {now} ({labels})."


def estimated(measure: Measure, found: Figure, n_labels: int) -> str:
    """What confidence says while labels are missing."""
    now, before, low, high = measure.words(found.value, measure.reference(), found.low, found.high)
    between = f"{low.removesuffix(' %')}-{high}"
    labels = "labels have not come yet" if n_labels == 0 else f"only {n_labels:,} of their labels have come yet"
    return f"{measure.name.capitalize()} is estimated at {now} ({between}), {before} in the reference; {labels}."

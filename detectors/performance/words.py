"""What a performance reading says, in one sentence."""

from __future__ import annotations

from detectors.performance.measure import Measure
from detectors.performance.metrics import Figure

NOTHING = "No answer of this pane came with a label or a probability."


def measured(measure: Measure, found: Figure, n_labels: int, estimated: Figure | None) -> str:
    """Of what labels say; ``estimated`` is an estimate that they refute."""
    before, now = measure.words(measure.reference(), found.value), measure.words(found.value, measure.reference())
    name = measure.name.capitalize()
    labels = f"measured on {n_labels:,} {'label' if n_labels == 1 else 'labels'}"
    if estimated is not None:
        guess = measure.words(estimated.value, found.value)
        return f"{name} is {now} ({labels}), {before} in the reference; its estimate of {guess} is not borne out."
    if before == now or measure.drop(found.value) <= 0:
        return f"{name} is {now} ({labels}), {before} in the reference."
    verb = "fell" if found.value < measure.reference() else "rose"
    return f"{name} {verb} from {before} to {now} ({labels})."


def estimated(measure: Measure, found: Figure, n_labels: int) -> str:
    """Of what confidence says while labels are missing."""
    reference = measure.reference()
    now = measure.words(found.value, reference)
    between = f"{measure.words(found.low, reference).removesuffix(' %')}-{measure.words(found.high, reference)}"
    labels = "labels have not come yet" if n_labels == 0 else f"only {n_labels:,} of their labels have come yet"
    name = measure.name.capitalize()
    return (
        f"{name} is estimated at {now} ({between}), {measure.words(reference, found.value)} in the reference; {labels}."
    )

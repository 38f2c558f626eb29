"""Options of the commands that learn a reference: what is known besides its events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from monitor.config import ScoreSettings
from monitor.learning import Extras, load_head
from monitor.own_scores import load_own_scores, parse_own_scores

HeadOption = Annotated[
    Path | None,
    typer.Option(help="The model's last linear layer, for ViM: .npz or JSON with `weights` and `bias`."),
]
TrainingOption = Annotated[
    list[Path] | None,
    typer.Option(help="A log of rows the model was trained on: left out of the reference. May be repeated."),
]
LinkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--link",
        metavar="KEY",
        help="A segment key whose values tie accounts together, such as an owner; default: those that look like it. "
        "May be repeated.",
    ),
]
OwnScoreOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=MODULE:FUNCTION", help="A score of your own for event batches. May be repeated."),
]


def extras_of(
    head: Path | None,
    training: Sequence[Path] | None,
    own: Sequence[str] | None,
    configured: Sequence[ScoreSettings] = (),
    links: Sequence[str] | None = None,
) -> Extras:
    """What the options, and the settings where the command has any, say besides the events.

    Raises:
        PermanentError: a head or a function cannot be read.
    """
    try:
        targets = {score.name: score.function for score in configured} | parse_own_scores(own or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--own-score") from error
    return Extras(
        load_own_scores(targets), None if head is None else load_head(head), tuple(training or ()), tuple(links or ())
    )

"""``vedette dlq``: records that could not be read, and giving them another chance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from monitor.cli.options import ConfigOption, JsonOption, database_of, settings_of
from monitor.cli.output import fail, print_json, print_table, say
from monitor.config import KafkaSettings
from monitor.sources.kafka_intake import KafkaIntake
from monitor.storage.dead_letters import DeadLetterRecord, delete_dead_letters, list_dead_letters, requeue, retriable
from monitor.storage.engine import reading, transaction

app = typer.Typer()
commands = typer.Typer(help="Records that could not be read.", no_args_is_help=True)
app.add_typer(commands, name="dlq")

_IN_ONE_TRANSACTION = 1_000


@commands.command("list")
def list_some(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    after: Annotated[int, typer.Option(help="Show those after this id.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Records that were set aside, oldest first, with position and reason."""
    with database_of(settings_of(config), "dlq") as engine, reading(engine) as connection:
        letters = list_dead_letters(connection, after=after, limit=limit)
    if as_json:
        print_json([_listed(letter) for letter in letters])
        return
    print_table(
        ("id", "position", "reason", "message", "bytes", "retriable"),
        [
            (
                str(letter.id),
                f"{letter.topic}-{letter.partition}-{letter.offset}",
                letter.reason.value,
                letter.message,
                f"{letter.value_bytes:,}",
                "yes" if letter.kept_whole else "no",
            )
            for letter in letters
        ],
    )


@commands.command()
def retry(
    ids: Annotated[list[int], typer.Argument(help="Ids from `vedette dlq list`.")], config: ConfigOption = None
) -> None:
    """Read these records again, as if they had just arrived over HTTP."""
    settings = settings_of(config)
    asked = sorted(set(ids))
    with database_of(settings, "dlq") as engine:
        again = _produce_again(engine, settings.kafka, asked) if settings.kafka else _queue_again(engine, asked)
    say(f"{again:,} of {len(asked):,} records queued again.")
    if again < len(asked):
        fail("the others are not there, were not kept whole, or were read in part: `vedette dlq list` shows which")


def _queue_again(engine: sa.Engine, ids: Sequence[int]) -> int:
    with transaction(engine) as connection:
        return requeue(connection, ids, datetime.now(UTC))


def _produce_again(engine: sa.Engine, kafka: KafkaSettings, ids: Sequence[int]) -> int:
    """Dead letters back onto the topic, then away; a crash in between leaves both, never neither."""
    intake, again = KafkaIntake(kafka), 0
    try:
        for first in range(0, len(ids), _IN_ONE_TRANSACTION):
            with transaction(engine) as connection:
                letters = retriable(connection, ids[first : first + _IN_ONE_TRANSACTION])
                intake.append([letter.value for letter in letters if letter.value is not None])
                again += delete_dead_letters(connection, [letter.id for letter in letters])
    finally:
        intake.close()
    return again


def _listed(letter: DeadLetterRecord) -> dict[str, Any]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "row": letter.row,
        "reason": letter.reason.value,
        "message": letter.message,
        "value_bytes": letter.value_bytes,
        "retriable": letter.kept_whole,
    }

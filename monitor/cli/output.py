"""What a person or a program sees: data on standard output, messages on standard error, files that are whole.

Nothing from outside reaches a terminal as it came: control characters are escaped and secrets masked.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from monitor.errors import PermanentError, SettingsError, VedetteError
from monitor.telemetry import redact_text

err = Console(stderr=True)

_GAP = "  "


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Known errors as a message and an exit code; anything else is a defect and keeps its traceback."""
    try:
        yield
    except SettingsError as error:
        _label("Wrong settings:", "bold red", end="\n")
        for fault in error.faults:
            say(f"  - {fault}")
        raise typer.Exit(2) from None
    except VedetteError as error:
        fail(str(error))


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with a message."""
    _label("Error:", "bold red")
    say(message)
    raise typer.Exit(code) from None


def warn(label: str, message: str) -> None:
    _label(label, "yellow")
    say(message)


def warn_of_rejected(label: str, rejected: Mapping[str, int]) -> None:
    """How many rows were left out, by reason; nothing where none was."""
    if rejected:
        warn(label, ", ".join(f"{reason} {n:,}" for reason, n in rejected.items()))


def say(message: str) -> None:
    """One line on standard error."""
    err.print(printable(redact_text(message)), markup=False, highlight=False, soft_wrap=True)


def _label(text: str, style: str, end: str = " ") -> None:
    err.print(text, style=style, end=end, markup=False, highlight=False)


def printable(text: str) -> str:
    r"""``text`` on one line, with everything that a terminal might obey written as an escape.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_line(text: str) -> None:
    """One line of data."""
    typer.echo(printable(text))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under headings, as wide as their cells: nothing is cut, whatever it is printed to."""
    cells = [[printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        typer.echo(_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int], None]]:
    """Counts records on standard error; silent where that is not a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        counted = 0

        def advance(records: int) -> None:
            nonlocal counted
            counted += records
            bar.update(task, description=f"{what}: {counted:,} records")

        yield advance


def check_output(output: Path, inputs: Sequence[Path]) -> None:
    """Find out before the work begins whether its result can be written.

    Raises:
        PermanentError: ``output`` is a folder, is in no folder, or is one of the ``inputs``.
    """
    if output.is_dir():
        raise PermanentError(f"{output} is a folder; choose another --output")
    if not output.parent.is_dir():
        raise PermanentError(f"{output}: there is no folder {output.parent}; make it, or choose another --output")
    if any(output.exists() and path.exists() and output.samefile(path) for path in inputs):
        raise PermanentError(f"{output} is also an input; choose another --output")


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is whole; what is no plain file, like a pipe, is written directly.

    Raises:
        PermanentError: it cannot be written.
    """
    direct = path.exists() and not stat.S_ISREG(path.stat().st_mode)
    whole = path.resolve()
    partial = path if direct else whole.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        if not direct:
            partial.replace(whole)
    except OSError as error:
        raise PermanentError(f"{path}: {error.strerror or error}; choose another --output") from error
    finally:
        if not direct:
            partial.unlink(missing_ok=True)

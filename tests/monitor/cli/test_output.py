"""What reaches a terminal is harmless, and a file is whole or not there."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import typer

from monitor.cli import output
from monitor.errors import PermanentError, SettingsError, TransientError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain × text", "plain × text"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("two\nlines", "two\\nlines"),
        ("\u202eright to left", "\\u202eright to left"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_printed(text: str, shown: str) -> None:
    assert output.printable(text) == shown


def test_columns_are_as_wide_as_their_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("id", "message"), [("1", "short"), ("22", "[red]" + "x" * 200)])
    assert capsys.readouterr().out == f"id  message\n1   short\n22  [red]{'x' * 200}\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SettingsError(["first", "second"]), 2, "Wrong settings:\n  - first\n  - second\n"),
        (PermanentError("it is so"), 1, "Error: it is so\n"),
        (TransientError(f"long {'word ' * 60}end"), 1, f"Error: long {'word ' * 60}end\n"),
        (PermanentError("postgresql://user:hunter2@db/x"), 1, "Error: postgresql://user:**********@db/x\n"),
        (PermanentError("clear \x1b[2J [bold]"), 1, "Error: clear \\x1b[2J [bold]\n"),
    ],
    ids=["settings", "permanent", "one line", "secret", "escape"],
)
def test_known_errors_become_a_message_and_a_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    with pytest.raises(typer.Exit) as ended, output.readable_errors():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr() == ("", said)


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), output.readable_errors():
        raise ZeroDivisionError


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with output.new_file(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"before")

    def interrupted() -> None:
        with output.new_file(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with output.new_file(tmp_path / "link") as file:
        file.write(b"whole")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"whole"


def test_a_pipe_is_written_directly(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with output.new_file(pipe) as file:
        file.write(b"through")
    reader.join(timeout=10)
    assert read == [b"through"]


@pytest.mark.parametrize("name", ["folder", "nowhere/out.jsonl", "input.ndjson", "link"])
def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "input.ndjson").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "input.ndjson")
    with pytest.raises(PermanentError, match="choose another --output"):
        output.check_output(tmp_path / name, [tmp_path / "input.ndjson"])


def test_a_full_disk_is_an_error_with_a_name() -> None:
    with pytest.raises(PermanentError, match="/dev/full: No space left"), output.new_file(Path("/dev/full")) as file:
        file.write(b"x" * 100_000)


def test_json_is_never_what_json_is_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        output.print_json(float("nan"))

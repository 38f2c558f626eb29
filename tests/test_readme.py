"""The README names only what exists."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.config import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`?vedette ((?:[a-z]+)(?: (?:fit|list))?)", README))))
def test_every_command_in_the_readme_exists(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z][a-z-]+)", README))))
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_settings_in_the_readme_are_valid() -> None:
    (example,) = blocks("toml")
    settings = Settings(**tomllib.loads(example.replace("whsec_…", "whsec_" + "QUFB" * 10)))
    assert [destination.type for destination in settings.destinations] == ["webhook", "slack"]


def test_the_producer_in_the_readme_is_python() -> None:
    (example,) = blocks("python")
    assert "log_answer" in {node.name for node in ast.walk(ast.parse(example)) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)h][^)]*)\)", README))))
def test_every_linked_file_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_folder_in_the_layout_exists() -> None:
    folders = re.findall(r"^\| `([a-z/]+)/` \|", README, flags=re.MULTILINE)
    assert len(folders) >= 6
    assert all((ROOT / folder).is_dir() for folder in folders)

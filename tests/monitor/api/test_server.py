"""A server in a thread."""

import socket
import threading

import httpx
import pytest
from fastapi import FastAPI

from monitor.api.server import serve
from monitor.errors import PermanentError


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def root() -> str:
        return "here"

    return app


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=20, trust_env=False)


def test_port_zero_takes_a_free_one_and_stopping_frees_it() -> None:
    server = serve(application(), "127.0.0.1", 0)
    assert server.port > 0
    assert server.alive()
    assert get(server.url).json() == "here"
    server.stop()
    assert not server.alive()
    again = serve(application(), "127.0.0.1", server.port)
    assert again.port == server.port
    again.stop()


def test_a_taken_port_is_named_with_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PermanentError, match=rf"127\.0\.0\.1:{port} is taken.*web\.port"):
            serve(application(), "127.0.0.1", port)


def test_an_address_that_is_not_this_machine_is_named_with_the_setting() -> None:
    with pytest.raises(PermanentError, match=r"192\.0\.2\.1:0.*web\.host"):
        serve(application(), "192.0.2.1", 0)


def test_every_address_is_reached_on_the_loopback() -> None:
    server = serve(application(), "0.0.0.0", 0)
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert get(server.url).status_code == 200
    server.stop()


def test_an_application_that_fails_to_start_is_told() -> None:
    async def broken(scope, receive, send):  # type: ignore[no-untyped-def]
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(PermanentError, match="did not start"):
        serve(broken, "127.0.0.1", 0)
    assert "web" not in {thread.name for thread in threading.enumerate()}


def test_requests_under_way_end_before_it_stops() -> None:
    entered, leave = threading.Event(), threading.Event()
    app = FastAPI()

    @app.get("/slow")
    def slow() -> str:
        entered.set()
        leave.wait(20)
        return "done"

    server = serve(app, "127.0.0.1", 0)
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(get(f"{server.url}/slow").json()))
    client.start()
    assert entered.wait(20)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    leave.set()
    client.join(20)
    stopper.join(20)
    assert answers == ["done"]
    assert not server.alive()

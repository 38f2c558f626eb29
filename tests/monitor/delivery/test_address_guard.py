"""Server-side request forgery: a table of addresses, and names that change their mind."""

import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from monitor.delivery.address_guard import ForbiddenAddress, Reach, allowed_addresses, is_allowed, resolve_with_system
from monitor.delivery.base import DeliveryOutcome
from monitor.delivery.post import Poster
from monitor.delivery.receiver import WebhookReceiver

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("10.0.0.1", "private"),
        ("172.16.5.4", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "metadata service"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.100.100.200", "metadata service"),
        ("192.0.0.192", "metadata service"),
        ("192.0.0.8", "protocol assignments"),
        ("192.88.99.1", "6to4 relay"),
        ("198.18.0.1", "benchmarking"),
        ("203.0.113.9", "documentation"),
        ("0.0.0.0", "this host"),
        ("0.1.2.3", "this network"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("fe80::1", "link-local"),
        ("fe80::1%1", "link-local with a zone"),
        ("fc00::1", "unique local"),
        ("fd00:ec2::254", "metadata service"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("4000::1", "not assigned"),
        ("::ffff:127.0.0.1", "mapped loopback"),
        ("::ffff:a00:1", "mapped private"),
        ("::ffff:0:7f00:1", "translated loopback"),
        ("::127.0.0.1", "compatible loopback"),
        ("2002:7f00:1::1", "6to4 of loopback"),
        ("2002:a9fe:a9fe::1", "6to4 of the metadata service"),
        ("64:ff9b::7f00:1", "NAT64 of loopback"),
        ("64:ff9b::a9fe:a9fe", "NAT64 of the metadata service"),
        ("64:ff9b:1::1", "local NAT64"),
    ],
)
def test_public_reach_refuses(address: str, why: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), Reach.PUBLIC), why


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_public_reach_allows(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), Reach.PUBLIC)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("169.254.1.1", True),
        ("::1", True),
        ("fd00::1", True),
        ("::ffff:127.0.0.1", True),
        ("224.0.0.1", False),
        ("::ffff:224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("ff02::1", False),
    ],
)
def test_reach_anywhere_allows_hosts_and_nothing_else(address: str, allowed: bool) -> None:
    assert is_allowed(ipaddress.ip_address(address), Reach.ANYWHERE) is allowed


def test_one_forbidden_address_among_public_ones_condemns_the_name() -> None:
    def resolve(host: str, port: int) -> Sequence[str]:
        return ["1.1.1.1", "127.0.0.1"]

    with pytest.raises(ForbiddenAddress, match=r"hooks\.example is at 127\.0\.0\.1"):
        allowed_addresses("hooks.example", 443, Reach.PUBLIC, resolve)


def test_a_name_without_addresses_cannot_be_resolved() -> None:
    with pytest.raises(OSError, match="no address"):
        allowed_addresses("hooks.example", 443, Reach.PUBLIC, lambda host, port: [])


@pytest.mark.parametrize("spelling", ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "localhost", "[::1]"])
def test_other_spellings_of_loopback_are_refused(spelling: str, receiver: WebhookReceiver) -> None:
    port = receiver.url.rsplit(":", 1)[1]
    receipt = Poster(f"http://{spelling}:{port}", Reach.PUBLIC).post({}, b"{}", NOW)
    assert receipt.outcome is DeliveryOutcome.RETRY
    assert "no public address" in receipt.answer or "resolved" in receipt.answer
    assert receiver.posted == ()


def test_every_attempt_looks_the_name_up_again(receiver: WebhookReceiver) -> None:
    """A name that was allowed once and then points inside is refused the second time."""
    answers = iter([["127.0.0.1"], ["127.0.0.1", "224.0.0.1"]])
    port = receiver.url.split(":")[2].split("/")[0]
    poster = Poster(f"http://hooks.example:{port}/", Reach.ANYWHERE, resolve=lambda host, port: next(answers))
    assert poster.post({}, b"{}", NOW).outcome is DeliveryOutcome.DELIVERED
    second = poster.post({}, b"{}", NOW)
    assert (second.outcome, second.status_code) == (DeliveryOutcome.RETRY, None)
    assert len(receiver.posted) == 1


def test_a_name_that_turns_inward_is_not_contacted(receiver: WebhookReceiver) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    poster = Poster(f"http://hooks.example:{port}/", Reach.PUBLIC, resolve=lambda host, port: ["127.0.0.1"])
    receipt = poster.post({}, b"{}", NOW)
    assert (receipt.outcome, receipt.status_code) == (DeliveryOutcome.RETRY, None)
    assert "allow_private_addresses" in receipt.answer
    assert receiver.posted == ()


def test_the_connection_goes_to_the_checked_address_and_keeps_the_host(receiver: WebhookReceiver) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    poster = Poster(f"http://hooks.example:{port}/x", Reach.ANYWHERE, resolve=lambda host, port: ["127.0.0.1"])
    assert poster.post({}, b"{}", NOW).status_code == 204
    (posted,) = receiver.posted
    assert posted.headers["host"] == f"hooks.example:{port}"


def test_an_address_that_does_not_answer_leaves_the_next_one_its_turn(receiver: WebhookReceiver) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    poster = Poster(f"http://hooks.example:{port}/", Reach.ANYWHERE, resolve=lambda host, port: ["::1", "127.0.0.1"])
    assert poster.post({}, b"{}", NOW).status_code == 204


def test_proxy_variables_are_ignored(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Poster(receiver.url, Reach.ANYWHERE).post({}, b"{}", NOW).status_code == 204


def test_the_server_name_of_tls_is_the_hosts_not_the_addresss() -> None:
    with _first_bytes() as (port, received):
        poster = Poster(
            f"https://hooks.example:{port}/", Reach.ANYWHERE, resolve=lambda host, port: ["127.0.0.1"], timeout_s=5
        )
        receipt = poster.post({}, b"{}", NOW)
    assert receipt.outcome is DeliveryOutcome.RETRY
    assert b"hooks.example" in received[0]


def test_the_system_resolver_gives_every_address_once() -> None:
    addresses = resolve_with_system("127.0.0.1", 80)
    assert addresses == ["127.0.0.1"]


@contextmanager
def _first_bytes() -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps the first bytes of one connection and hangs up."""
    received: list[bytes] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                received.append(connection.recv(4_096))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], received
        thread.join(10)

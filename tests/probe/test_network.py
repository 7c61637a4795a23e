"""Names, routes and free ports; nothing leaves this host."""

import errno
import os
import socket

import pytest

from madrun.errors import ContextError
from madrun.probe import network


@pytest.mark.parametrize(
    ("address", "literal"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("::1", "::1"), ("localhost", "127.0.0.1")]
)
def test_an_address_becomes_a_literal_with_ipv4_first(address, literal, monkeypatch):
    entries = [(socket.AF_INET6, 1, 6, "", ("::1", 0, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    assert network.resolve(address) == literal


@pytest.mark.parametrize("name", ["gamma", "", "a" * 300, "ü\udc80"])
def test_a_name_that_cannot_be_resolved_is_named_with_what_is_allowed(name, monkeypatch):
    real = socket.getaddrinfo

    def look_up(host, *rest, **more):
        if host == "gamma":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ContextError, match="MASTER_ADDR: found .*cannot resolve.*allowed: an IP address"):
        network.resolve(name)


def test_the_way_to_loopback_starts_at_loopback():
    assert network.local_address_towards("127.0.0.1") == "127.0.0.1"


def test_an_address_without_a_route_is_an_error():
    with pytest.raises(ContextError, match=r"MASTER_ADDR: this host has no route to 255.255.255.255 \("):
        network.local_address_towards("255.255.255.255")


def test_a_port_that_somebody_listens_on_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not network.port_is_free(port, "127.0.0.1")
    assert network.port_is_free(port, "127.0.0.1")


def test_two_claims_of_one_port_give_two_ports_until_one_is_given_back():
    first = network.claim_free_port(23456)
    second = network.claim_free_port(first.port)
    third = None
    try:
        assert second.port != first.port
        wanted = first.port
        first.release()
        third = network.claim_free_port(wanted)
        assert third.port == wanted
    finally:
        for claim in (first, second, third):
            if claim is not None:
                claim.release()


def test_a_claim_passes_over_a_port_in_use_and_wraps_around():
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen()
        port = server.getsockname()[1]
        claim = network.claim_free_port(port, low=port - 1, high=port + 1)
        try:
            assert claim.port == port - 1
            with pytest.raises(ContextError, match=f"MASTER_PORT: no free port in {port}-{port}"):
                network.claim_free_port(port, low=port, high=port + 1)
        finally:
            claim.release()


def test_who_has_a_port_is_named_with_pid_and_command():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        trouble = network.port_trouble(port, "127.0.0.1")
    assert f"is in use on this host by process {os.getpid()} (" in trouble
    assert trouble.endswith("give another port on every node")
    assert network.port_trouble(port, "127.0.0.1") == ""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "is privileged on this host: ports below"),
        (errno.EADDRNOTAVAIL, "cannot be listened on at 10.9.9.9"),
    ],
)
def test_other_reasons_against_a_port_have_their_own_words(code, words, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert words in network.port_trouble(80, "10.9.9.9")


def test_a_port_that_the_kernel_gives_away_is_a_note(monkeypatch):
    monkeypatch.setattr(network, "_sysctl", lambda _name, _default: (32768, 60999))
    note = network.ephemeral_note("MASTER_PORT", 40000)
    assert note.startswith("multi_node_args.MASTER_PORT: 40000 lies among the ports")
    assert "32768-60999" in note
    assert network.ephemeral_note("MASTER_PORT", 29501) == ""


def test_the_line_that_gives_a_name_its_address_is_found(tmp_path):
    table = tmp_path / "hosts"
    table.write_text("127.0.0.1 localhost\n# 10.0.0.9 head\n127.0.1.1 Head.example head # ours\n")
    assert network.line_of_hosts("HEAD", table) == f"{table}:3"
    assert network.line_of_hosts("127.0.1.1", table) == ""
    assert network.line_of_hosts("head", tmp_path / "none") == ""

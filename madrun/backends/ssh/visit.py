"""One visit to all hosts at once before anything is started: what each of them is, has and lacks."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from madrun.backends.ssh.connection import Connections
from madrun.backends.ssh.problems import Problem, as_text, of_reply, of_seen, reasons, same_machine
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.visitscript import Seen, read_answer, visit_script
from madrun.errors import ContextError, HostsError
from madrun.spec.launch import Launch

_LIMIT_S = 60.0
_RESOLVE_S = 10.0
# Bridges and tunnels of container engines and virtual machines: their networks end on their host.
_OWN_NETWORKS = ("lo", "docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "tun")


def visit(
    connections: Connections, settings: SshSettings, launch: Launch, stop: threading.Event | None = None
) -> tuple[Seen, ...]:
    """What was seen on each host, in the order of the ranks; empty once `stop` is set.

    `HostsError` with all that is wrong on all hosts: not reached, not let in, without a python, one machine twice.
    """
    token = secrets.token_hex(8)
    script = visit_script(token, settings.folder, launch.folder, launch.id, launch.python)
    began = time.time()
    replies = connections.run(settings.names, script, limit_s=_LIMIT_S, stop=stop)
    if stop is not None and stop.is_set():
        return ()
    now = (began + time.time()) / 2
    answers = [read_answer(reply.out, token, rank, reply.host, now) for rank, reply in enumerate(replies)]
    seen = tuple(answer for answer in answers if answer is not None)
    some_engine = any(one.engines for one in seen)
    problems: list[Problem] = [
        of_reply(rank, replies[rank], _LIMIT_S) for rank, answer in enumerate(answers) if answer is None
    ]
    for one in seen:
        problems += of_seen(one, settings, launch, some_engine)
    problems += same_machine(seen)
    if problems:
        raise HostsError(as_text(problems, len(replies)), reasons(problems))
    return seen


def choose_master(seen: Sequence[Seen], launch: Launch, settings: SshSettings) -> str:
    """MASTER_ADDR for all nodes: as the user says it, else an address of the first host that the others can reach.

    That is one in a network that all hosts have an address of their own in, else the one on which its sshd is spoken
    to. `ContextError` where neither is known.
    """
    if said := launch.master_addr or settings.master_addr:
        return said
    if len(seen) == 1:
        return "127.0.0.1"
    shared = _shared_addresses(seen)
    reached = seen[0].reached_at
    if shared:
        return reached if reached in shared else shared[0]
    for address in (reached, _resolved(seen[0].host)):
        with suppress(ValueError):
            if address and not ip_address(address).is_loopback:
                return address
    raise ContextError(
        f"multi_node_args.MASTER_ADDR: found no address of {seen[0].host} that the other hosts share a network with; "
        "allowed: the address by which they reach it; set MASTER_ADDR, or ssh.master_addr in the site file"
    )


def _shared_addresses(seen: Sequence[Seen]) -> list[str]:
    """Addresses of the first host in networks in which every host has one of its own, IPv4 before IPv6."""
    others = [list(_interfaces(one)) for one in seen[1:]]
    found = []
    for mine in _interfaces(seen[0]):
        there = [next((one.ip for one in host if one.network == mine.network), None) for host in others]
        if None not in there and len({mine.ip, *there}) == len(seen):
            found.append(mine)
    return [str(one.ip) for one in sorted(found, key=lambda one: one.version)]


def _interfaces(seen: Seen) -> list[IPv4Interface | IPv6Interface]:
    """Its addresses that mean something to other hosts, in their order."""
    all_of_them = [ip_interface(text) for name, text in seen.addresses if not name.startswith(_OWN_NETWORKS)]
    return [one for one in all_of_them if not one.ip.is_loopback and not one.ip.is_link_local]


def host_behind(host: str) -> str:
    """The host name or address to which ssh would connect for this word; the word without its user where it fails."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["ssh", "-G", "--", host]
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_RESOLVE_S)
        for line in said.stdout.splitlines():
            if line.startswith("hostname "):
                return line.removeprefix("hostname ").strip()
    return host.rpartition("@")[2]


def _resolved(host: str) -> str:
    """The address of what ssh would connect to, IPv4 before IPv6; empty where the name means nothing here."""
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host_behind(host), None, type=socket.SOCK_STREAM)
        literals = [str(entry[4][0]) for entry in found]
        return next((literal for literal in literals if ":" not in literal), literals[0])
    return ""

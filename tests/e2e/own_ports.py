"""Ports of this machine for the tests of this process alone, however many test at once.

A number that the kernel gives for port 0 is soon given again: to a connection that goes out, or to who asks next. These
lie below those (ip_local_port_range), above those that madrun gives to single nodes, and in blocks, one for a process.
"""

from __future__ import annotations

import itertools
import socket
from contextlib import ExitStack, suppress
from functools import cache

_LOW, _SIZE, _BLOCKS = 29800, 144, 20
_STEP = 3  # MASTER_PORT, the next one, where the agents talk, and one to spare


def free_port() -> int:
    """A port that nobody has, and the next one is free too: madrun's own agents talk there.

    One that the kernel still keeps for a connection that has ended (TIME_WAIT) only where no other is left.
    """
    start, _ = _block()
    for listen in (_listen_alone, _listen):
        for _ in range(0, _SIZE, _STEP):
            port = start + next(_turns()) * _STEP % _SIZE
            with suppress(OSError), listen(port), listen(port + 1):
                return port
    raise AssertionError(f"no two free ports in a row from {start} to {start + _SIZE - 1}")


def _listen(port: int) -> socket.socket:
    return socket.create_server(("", port))


def _listen_alone(port: int) -> socket.socket:
    with ExitStack() as stack:
        made = stack.enter_context(socket.socket())
        made.bind(("", port))
        made.listen()
        stack.pop_all()
        return made


@cache
def _turns() -> itertools.count[int]:
    return itertools.count()


@cache
def _block() -> tuple[int, socket.socket]:
    """The first port of this process's block, and what holds the block while the process lives: unix(7), abstract."""
    for number in range(_BLOCKS):
        claim = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            claim.bind(f"\0madrun-test-ports-{number}")
            return _LOW + number * _SIZE, claim
        claim.close()
    raise AssertionError(f"{_BLOCKS} processes have a block of ports each already")

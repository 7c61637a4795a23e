"""Whether the nodes reach each other on the addresses that a run will use: each listens, each calls the others.

A call proves that the right node answered, by a nonce that went over the control channel; an address that two hosts
have is found out so. All calls of a node are under way at once.
"""

from __future__ import annotations

import errno
import hashlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

CONNECT_S, ANSWER_S = 1.5, 5.0
_WORD = b"madrun-reach "
_LINE = len(_WORD) + 64 + 1
_MOST_CALLERS = 4096


def _sign(nonce: str, what: str) -> bytes:
    return hashlib.sha256(f"{nonce} {what}".encode()).hexdigest().encode()


@dataclass(slots=True)
class Doors:
    """Listens on these addresses, (interface, address), from `open` to `close`; answers callers who know the nonce."""

    addresses: Sequence[tuple[str, str]]
    nonce: str = field(default_factory=lambda: os.urandom(16).hex())
    at: list[tuple[str, int]] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _wake: socket.socket | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Doors:
        for _, address in self.addresses:
            with suppress(OSError):  # an address that is not up yet: the others then hear that nobody answers there
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                door = socket.create_server((address, 0), family=family, backlog=1024)
                door.setblocking(False)
                self._selector.register(door, selectors.EVENT_READ, None)
                self.at.append((address, door.getsockname()[1]))
        self._wake, other = socket.socketpair()
        self._selector.register(other, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, args=(other,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._wake is not None and self._thread is not None:
            self._wake.close()
            self._thread.join(2)

    def _serve(self, wake: socket.socket) -> None:
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is wake:
                        return
                    assert isinstance(key.fileobj, socket.socket)
                    if key.data is None:
                        self._let_in(key.fileobj)
                    else:
                        self._answer(key.fileobj, key.data)
        finally:
            for key in list(self._selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
            self._selector.close()

    def _let_in(self, door: socket.socket) -> None:
        with suppress(OSError):
            caller, _ = door.accept()
            if len(self._selector.get_map()) > _MOST_CALLERS:
                caller.close()
                return
            caller.setblocking(False)
            self._selector.register(caller, selectors.EVENT_READ, bytearray())

    def _answer(self, caller: socket.socket, heard: bytearray) -> None:
        data = b""
        with suppress(OSError):
            data = caller.recv(_LINE)
        heard += data
        if data and len(heard) < _LINE and _WORD.startswith(bytes(heard[: len(_WORD)])):
            return
        with suppress(OSError):
            if bytes(heard) == _WORD + _sign(self.nonce, "call") + b"\n":
                caller.sendall(_WORD + _sign(self.nonce, "answer") + b"\n")
        self._selector.unregister(caller)
        caller.close()


@dataclass(slots=True)
class _Call:
    to: int
    address: str
    nonce: str
    deadline: float
    connected: bool = False
    heard: bytes = b""


def call_all(peers: Iterable[Sequence[Any]]) -> list[tuple[int, str]]:
    """Calls every endpoint of these peers, (rank, endpoints, nonce): the ranks not reached, each with the reason."""
    failed: dict[int, str] = {}
    with selectors.DefaultSelector() as selector:
        for rank, endpoints, nonce in peers:
            for address, port in endpoints:
                call = _Call(int(rank), str(address), str(nonce), time.monotonic() + CONNECT_S)
                reason = _begin(selector, call, int(port))
                if reason:
                    failed.setdefault(call.to, reason)
        while selector.get_map():
            for key, _ in selector.select(0.05):
                assert isinstance(key.fileobj, socket.socket)
                _end(selector, key.fileobj, key.data, _progress(selector, key.fileobj, key.data), failed)
            for key in list(selector.get_map().values()):
                if time.monotonic() > key.data.deadline:
                    assert isinstance(key.fileobj, socket.socket)
                    _end(selector, key.fileobj, key.data, _silence(key.data), failed)
    return sorted(failed.items())


def _begin(selector: selectors.BaseSelector, call: _Call, port: int) -> str:
    """Starts to connect; the reason where the kernel says no at once."""
    family = socket.AF_INET6 if ":" in call.address else socket.AF_INET
    line = socket.socket(family, socket.SOCK_STREAM)
    line.setblocking(False)
    code = line.connect_ex((call.address, port))
    if code not in (0, errno.EINPROGRESS):
        line.close()
        return _reason(code)
    selector.register(line, selectors.EVENT_WRITE, call)
    return ""


def _progress(selector: selectors.BaseSelector, line: socket.socket, call: _Call) -> str | None:
    """One step of a call: None while it goes on, empty where the right node has answered, else the reason."""
    if not call.connected:
        code = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            return _reason(code)
        call.connected, call.deadline = True, time.monotonic() + ANSWER_S
        with suppress(OSError):
            line.sendall(_WORD + _sign(call.nonce, "call") + b"\n")
        selector.modify(line, selectors.EVENT_READ, call)
        return None
    try:
        data = line.recv(_LINE)
    except OSError as error:
        return _reason(error.errno or 0)
    call.heard += data
    if data and len(call.heard) < _LINE:
        return None
    right = call.heard == _WORD + _sign(call.nonce, "answer") + b"\n"
    return "" if right else "something else answered there: does another host or program have this address?"


def _end(
    selector: selectors.BaseSelector, line: socket.socket, call: _Call, reason: str | None, failed: dict[int, str]
) -> None:
    if reason is None:
        return
    selector.unregister(line)
    line.close()
    if reason:
        failed.setdefault(call.to, reason)


def _silence(call: _Call) -> str:
    if call.connected:
        return f"connected, but no answer within {ANSWER_S:g} s"
    return f"no packet came back within {CONNECT_S:g} s"


def _reason(code: int) -> str:
    if code == errno.ECONNREFUSED:
        return "refused: a firewall, or another host that has this address"
    if code in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "no route to it"
    return os.strerror(code)

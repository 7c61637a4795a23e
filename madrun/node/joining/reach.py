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
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

CONNECT_S, ANSWER_S = 1.5, 5.0
_WORD = b"madrun-reach "
_LINE = len(_WORD) + 64 + 1
_MOST_CALLERS = 256
_REST_S = 0.01
_AT_ONCE = struct.pack("ii", 1, 0)


def _sign(nonce: str, what: str) -> bytes:
    return hashlib.sha256(f"{nonce} {what}".encode()).hexdigest().encode()


@dataclass(slots=True)
class Doors:
    """Listens on these addresses, (interface, address), from `open` to `close`; answers callers who know the nonce.

    And on `named` ports, (address, port, what it is), which a firewall may treat in a way of its own. Of more than
    `most` callers at a time the one that came first has to go.
    """

    addresses: Sequence[tuple[str, str]]
    named: Sequence[tuple[str, int, str]] = ()
    most: int = _MOST_CALLERS
    nonce: str = field(default_factory=lambda: os.urandom(16).hex())
    at: list[tuple[Any, ...]] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _wake: socket.socket | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Doors:
        for address, port, name in [*((address, 0, "") for _, address in self.addresses), *self.named]:
            with suppress(OSError):  # an address that is not up yet: the others then hear that nobody answers there
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                door = socket.create_server((address, port), family=family, backlog=1024)
                door.setblocking(False)
                self._selector.register(door, selectors.EVENT_READ, None)
                self.at.append((address, door.getsockname()[1], *filter(None, [name])))
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
                    if self._selector.get_map().get(key.fd) is not key:
                        continue  # it had to make room a moment ago
                    if key.data is None:
                        self._let_in(key.fileobj)
                    else:
                        self._answer(key.fileobj, key.data)
        finally:
            for key in list(self._selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                if isinstance(key.data, bytearray):
                    key.fileobj.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                key.fileobj.close()
            self._selector.close()

    def _let_in(self, door: socket.socket) -> None:
        try:
            caller, _ = door.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()  # else the door would call again at once, for ever
            return
        caller.setblocking(False)
        self._selector.register(caller, selectors.EVENT_READ, bytearray())
        if len(self._selector.get_map()) > self.most:
            self._make_room()

    def _make_room(self) -> None:
        """Ends the connection that has stood for longest."""
        for key in self._selector.get_map().values():
            if isinstance(key.data, bytearray) and isinstance(key.fileobj, socket.socket):
                self._selector.unregister(key.fileobj)
                key.fileobj.close()
                return
        time.sleep(_REST_S)

    def _answer(self, caller: socket.socket, heard: bytearray) -> None:
        data = b""
        with suppress(OSError):
            data = caller.recv(_LINE)
        heard += data
        if data and len(heard) < _LINE and _WORD.startswith(bytes(heard[: len(_WORD)])):
            return
        with suppress(OSError):
            if data and bytes(heard) == _WORD + _sign(self.nonce, "call") + b"\n":
                caller.sendall(_WORD + _sign(self.nonce, "answer") + b"\n")
                return  # the caller hangs up first, so that no TIME_WAIT is left on a port that the job is to have
        self._selector.unregister(caller)
        caller.close()


@dataclass(slots=True)
class _Call:
    to: int
    address: str
    nonce: str
    deadline: float
    name: str = ""
    connected: bool = False
    heard: bytes = b""


def call_all(peers: Iterable[Sequence[Any]]) -> list[tuple[int, str]]:
    """Calls every endpoint of these peers, (rank, endpoints, nonce): the ranks not reached, each with the reason."""
    failed: dict[int, str] = {}
    with selectors.DefaultSelector() as selector:
        for rank, endpoints, nonce in peers:
            for address, port, *name in endpoints:
                what = f"{name[0]} {port} of {address}: " if any(name) else ""
                call = _Call(int(rank), str(address), str(nonce), time.monotonic() + CONNECT_S, what)
                reason = _begin(selector, call, int(port))
                if reason:
                    failed.setdefault(call.to, what + reason)
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
        failed.setdefault(call.to, call.name + reason)


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

"""What a node does at this moment: told to node 0, which keeps a `status.json` of all nodes for whoever asks."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from madrun.node.seeing.presence import Presence, started_at
from madrun.results.rundir import ENDED, RECORD, STATUS, write_atomically
from madrun.results.samples import MARK, parse_line

if TYPE_CHECKING:
    from madrun.node.channel.link import Link

CONSOLE = "console.log"
_LOOK_EVERY_S, _WRITE_EVERY_S, ALIVE_EVERY_S = 0.5, 2.0, 10.0
_WINDOW = 64 << 10


class Board:
    """Looks at the node's own log twice a second, from `with` to its end; all of it costs a few system calls.

    The file of a run that has its record is taken away: then the record says more.
    """

    def __init__(self, link: Link, run: Path, folder: Path, presence: Presence) -> None:
        self._link, self._run, self._presence = link, run, presence
        self._console = folder / CONSOLE
        self._folder, self._rank = folder, presence.resident.rank
        # of a run before this one over the same link nothing may remain
        clear = {"phase": "", "phase_at": None, "printed_at": None, "metric": "", "idle_s": None}
        known = {"host": presence.resident.host, "folder": str(folder), "console_bytes": 0}
        self._mine: dict[str, Any] = clear | known
        self._written: tuple[float, object] = (0.0, None)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Board:
        self._link.tell(self._mine)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        if (self._run / RECORD).exists():
            (self._run / STATUS).unlink(missing_ok=True)

    def phase(self, name: str) -> None:
        """This node has come to this phase."""
        self._tell({"phase": name, "phase_at": round(time.time(), 3)})
        self._presence.say(phase=name, phase_at=time.time())

    def box(self, pid: int | None) -> None:
        """This node's box has started; `pid` is its outermost process, where that can be seen."""
        self._presence.say(box_pid=pid, box_started=started_at(pid) or "" if pid else "")

    def ended(self, exit_code: int, reasons: tuple[str, ...]) -> None:
        """On a node that has no record: how node 0 said that the run ended."""
        if self._rank != 0:
            with suppress(OSError):
                write_atomically(self._folder / ENDED, json.dumps({"exit_code": int(exit_code), "reasons": reasons}))

    def _tell(self, news: dict[str, Any]) -> None:
        self._mine = self._mine | news
        self._link.tell(news)

    def _keep(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            self._look()
            if self._rank == 0:
                self._write()

    def _look(self) -> None:
        """What the log tells; only its end is read, however fast it grows."""
        try:
            if self._console.stat().st_size == self._mine["console_bytes"]:
                return
        except OSError:
            return
        found = look_at_log(self._console)
        if found is not None:
            size, at, metric = found
            news: dict[str, Any] = {"console_bytes": size, "printed_at": round(at, 3)}
            self._tell(news | ({"metric": metric} if metric else {}))

    def _write(self) -> None:
        nodes = {rank: dict(status) for rank, status in self._link.board().items()}
        nodes[0] = nodes.get(0, {}) | self._mine
        now = time.time()
        wait = _WRITE_EVERY_S if nodes != self._written[1] else ALIVE_EVERY_S
        if now - self._written[0] < wait:
            return
        self._written = now, nodes
        by_rank = {str(rank): nodes[rank] for rank in sorted(nodes)}
        document = {"at": round(now, 3), "pid": os.getpid(), "nodes": by_rank}
        with suppress(OSError, TypeError, ValueError):  # nobody has to be able to watch for a run to be right
            write_atomically(self._run / STATUS, json.dumps(document), durable=False)


def look_at_log(file: Path) -> tuple[int, float, str] | None:
    """Size of a log, when it was last written to, and the last metric in the last 64 KiB of it; None without a log."""
    try:
        state = file.stat()
        with file.open("rb") as source:
            source.seek(max(0, state.st_size - _WINDOW))
            text = source.read(_WINDOW).decode("utf-8", "replace")
    except OSError:
        return None
    return state.st_size, state.st_mtime, last_metric(text)


def last_metric(text: str) -> str:
    """The last metric line of a text as `VALUE NAME`; empty where there is none."""
    if MARK not in text:
        return ""
    parsed = [found for found in map(parse_line, (line for line in text.splitlines() if MARK in line)) if found]
    return f"{parsed[-1][0]} {parsed[-1][1]}" if parsed else ""

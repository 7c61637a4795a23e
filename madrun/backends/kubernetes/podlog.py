"""The log of a pod, line by line and each line once, over connections that break.

The API stamps each line with the time at which the runtime of containers took it (RFC 3339 with up to nine decimals).
It takes the log up again from so many seconds ago on, so lines come twice, and are known by their stamps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from madrun.backends.kubernetes.cluster import Cluster
from madrun.backends.kubernetes.refused import Away, Gone
from madrun.errors import MadrunError

Sink = Callable[[bytes], None]
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_MARGIN_S = 300.0  # how late a line may have come, at most


class Seen:
    """Which lines of a log have come: all up to the last stamp, and so many of that very stamp."""

    def __init__(self) -> None:
        self._last, self._of_last = "", 0
        self._skip_of_last = 0
        self._catching = False

    @property
    def any(self) -> bool:
        """Whether a line has come."""
        return bool(self._last)

    def again(self) -> None:
        """The log is taken up again: what has come comes once more."""
        self._catching, self._skip_of_last = self.any, self._of_last

    def take(self, line: bytes) -> bytes | None:
        """The line without its stamp, or None for one that has come before."""
        stamp, text = split(line)
        if stamp is None:
            return None if self._catching else line
        if self._catching:
            if stamp < self._last:
                return None
            if stamp == self._last and self._skip_of_last:
                self._skip_of_last -= 1
                return None
            self._catching = False
        if stamp >= self._last:  # the two streams of a container are stamped apart: a line may come late
            self._of_last = self._of_last + 1 if stamp == self._last else 1
            self._last = stamp
        return text


def split(line: bytes) -> tuple[str | None, bytes]:
    """A stamp that sorts by time, and the text; None where the line begins with none."""
    stamp, blank, text = line.partition(b" ")
    if not blank or len(stamp) < len("2026-01-01T00:00:00Z") or stamp[10:11] != b"T" or not stamp[:4].isdigit():
        return None, line
    fraction = stamp[20:].rstrip(b"Z").partition(b"+")[0] if stamp[19:20] == b"." else b""
    return (stamp[:19] + b"." + fraction.ljust(9, b"0")).decode("ascii", "replace"), text


class PodLog:
    """Follows one pod's log in a thread of its own until the pod has ended, or is gone."""

    def __init__(
        self, cluster: Cluster, pod: str, sink: Sink, has_ended: Callable[[], bool], seen: Seen | None = None
    ) -> None:
        self._cluster, self._pod, self._sink, self._has_ended = cluster, pod, sink, has_ended
        self.seen = seen or Seen()
        self.heard = time.monotonic()  # when the last line came
        self._closed = threading.Event()
        self.opened = threading.Event()  # the cluster has begun to send it
        self._thread = threading.Thread(target=self._run, name=f"log of {pod}", daemon=True)

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether all has come within that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Waits for nothing more."""
        self._closed.set()

    def _run(self) -> None:
        pause = _PAUSE_S
        while not self._closed.is_set():
            last = self._has_ended()  # asked before: what is read then is all there is
            try:
                if self._read(follow=not last) or not last:
                    pause = _PAUSE_S
                if last:
                    return
            except Gone:
                return
            except Away:
                pass
            except MadrunError:  # of a pod that has no log yet, or a right that is missing
                if last:
                    return
            self._closed.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _read(self, follow: bool) -> bool:
        """Whether anything new came."""
        since = int(time.monotonic() - self.heard + _MARGIN_S) + 1 if self.seen.any else None
        self.seen.again()
        found = False
        lines = self._cluster.log(self._pod, follow, since)
        self.opened.set()
        for line in lines:
            if self._closed.is_set():
                break
            self.heard = time.monotonic()
            text = self.seen.take(line)
            if text is not None:
                found = True
                self._sink(text)
        return found

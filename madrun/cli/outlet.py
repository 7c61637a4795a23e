"""A file descriptor to write to that never blocks its writer and never raises: it may be paused, full or closed."""

from __future__ import annotations

import os
import select
import stat

_WHOLE = 1 << 20
_PIPE_BUF = 4096  # what a pipe or terminal that select(2) calls writable takes without blocking


class Outlet:
    """Takes bytes as long as somebody or something takes them; mute for good after the first error."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at_line_start = True
        self._pending = b""
        try:
            self._chunk = _WHOLE if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_BUF
            self.mute = False
        except OSError:
            self._chunk, self.mute = 0, True

    @property
    def idle(self) -> bool:
        """Nothing is left to be written."""
        return not self._pending

    def put(self, data: bytes) -> None:
        """Adds bytes to what is to be written."""
        if not self.mute:
            self._pending += data

    def flush(self, wait_s: float) -> bool:
        """Writes until all is written; False where the other side takes nothing for `wait_s`."""
        view = memoryview(self._pending)
        done = 0
        while done < len(view) and self._writable(wait_s):
            try:
                done += os.write(self.fd, view[done : done + self._chunk])
            except OSError:
                self.mute = True
                break
        if done:
            self.at_line_start = view[done - 1] == ord("\n")
        view.release()
        self._pending = b"" if self.mute else self._pending[done:]
        return self.idle

    def _writable(self, wait_s: float) -> bool:
        try:
            return bool(select.select([], [self.fd], [], wait_s)[1])
        except (OSError, ValueError):
            self.mute = True
            return False

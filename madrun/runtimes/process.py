"""The process runtime: the driver on the host itself, under a supervisor that no descendant escapes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from madrun.errors import EngineError
from madrun.runtimes.box import Sink
from madrun.runtimes.outside import Trouble
from madrun.spec.plan import HostProcess, filled

_READ = 1 << 20


class ProcessBox:
    """A running supervisor with the driver and all its descendants. Without this process they end too."""

    image_id = ""
    deviations: tuple[str, ...] = ()
    trouble: Trouble = ""

    def __init__(self, process: HostProcess, secrets: Mapping[str, str], sink: Sink) -> None:
        env = filled(process.env, secrets)
        watch_read, watch_write = os.pipe()
        self._watch: int | None = watch_write
        supervisor = Path(__file__).with_name("supervisor.py")
        words = [sys.executable, "-I", "-S", str(supervisor), str(watch_read), *process.command]
        try:
            self._child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=process.workdir,
                env=env,
                pass_fds=(watch_read,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(watch_write)
            raise EngineError(f"the process runtime could not start {words[0]}: {error}") from None
        finally:
            os.close(watch_read)
        self._pump = threading.Thread(target=self._copy, args=(sink,), daemon=True)
        self._pump.start()

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def ask(self) -> Trouble:
        return self.trouble

    def send(self, line: str) -> None:
        assert self._child.stdin is not None
        with suppress(OSError, ValueError):
            self._child.stdin.write(f"{line}\n".encode())
            self._child.stdin.flush()

    def wait(self, timeout_s: float) -> int | None:
        try:
            code = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._pump.join(timeout_s)
        if self._pump.is_alive():
            return None  # output is still on its way: closing now would cut it
        self._close()
        return code if code >= 0 else 128 - code

    def _close(self) -> None:
        """Gives every file back, once: their numbers may be somebody else's afterwards."""
        watch, self._watch = self._watch, None
        if watch is not None:
            os.close(watch)
        for stream in (self._child.stdin, self._child.stdout):
            with suppress(OSError):  # what was not written yet has no reader any more
                _ = stream and stream.close()

    def kill(self) -> None:
        if self._watch is not None:
            with suppress(OSError):
                os.write(self._watch, b"k")

    def _copy(self, sink: Sink) -> None:
        assert self._child.stdout is not None
        source = self._child.stdout.fileno()
        while chunk := os.read(source, _READ):
            sink(chunk)

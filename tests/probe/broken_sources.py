"""Hosts on which nothing can be read, each for another reason: what a check makes of them must never be a PASS."""

import errno
import os
import threading

from madrun.probe.accelerator.tools import Unanswered
from madrun.probe.health.source import Source, Unreadable


class Failing(Source):
    """Every file, folder and system call fails with this number, every tool and the engine with these words."""

    def __init__(self, root, number, tool="nvidia-smi: No such file or directory"):
        super().__init__(root)
        self._number, self._tool = number, tool

    def _fail(self, *_):
        raise OSError(self._number, os.strerror(self._number))

    bytes_of = entries_of = statvfs = stat = readlink = timex = _fail

    def run(self, argv):
        raise Unanswered(self._tool)

    def engine_info(self, name):
        raise Unreadable("no docker engine answers")

    def addresses_of(self, name):
        raise Unreadable("the address could not be asked for: Temporary failure in name resolution")

    def wait(self, seconds):
        return seconds


class Saying(Source):
    """Every file and tool says the same, every folder holds the same names."""

    def __init__(self, root, content, names=("cpu0",), info=None, addresses=("no address",)):
        super().__init__(root)
        self._content, self._names, self._info, self._addresses = content, list(names), info, list(addresses)

    def bytes_of(self, path):
        return self._content

    def entries_of(self, path):
        return self._names

    def statvfs(self, path):
        return os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255))

    def stat(self, path):
        return os.stat_result(range(10))

    def readlink(self, path):
        return self.root / "nothing"

    def timex(self):
        return self._content

    def run(self, argv):
        return self._content.decode(errors="replace")

    def engine_info(self, name):
        return self._info

    def addresses_of(self, name):
        return self._addresses

    def wait(self, seconds):
        return seconds


class Hanging(Source):
    """Nothing comes back before `release`."""

    def __init__(self, root):
        super().__init__(root)
        self.release = threading.Event()

    def _hang(self, *_):
        self.release.wait()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    bytes_of = entries_of = statvfs = stat = readlink = timex = _hang

    def run(self, argv):
        self.release.wait()
        raise Unanswered("released")

    def engine_info(self, name):
        self.release.wait()
        raise Unreadable("released")

    def addresses_of(self, name):
        self.release.wait()
        raise Unreadable("released")


def broken(root):
    """A source for each way in which a host may keep what it knows to itself, by its name."""
    return {
        "missing": Failing(root, errno.ENOENT),
        "forbidden": Failing(root, errno.EACCES),
        "failing": Failing(root, errno.EIO, "nvidia-smi failed with 9: NVIDIA-SMI has failed"),
        "hanging tool": Failing(root, errno.ENODEV, "nvidia-smi did not answer within 15 s"),
        "empty": Saying(root, b"", names=(), info={}, addresses=()),
        "garbage": Saying(root, b"\xff\x00 garbage: -1 unlimited\n<a>\n[{}]", info={"ServerVersion": 7}),
        "of another kind": Saying(root, b"NaN", names=("..", "cpu7", "0", "a b"), info=[]),
    }

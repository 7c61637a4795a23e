"""The lines that NCCL and RCCL print while they start, taken in one by one, in any order, mixed as they may be.

Formats: NCCL's src/init.cc, bootstrap.cc, transport/net.cc, net_ib.cc, net_socket.cc, p2p.cc, shm.cc, plugin/net.cc of
2.4 to 2.28, which RCCL shares; NET/OFI: aws-ofi-nccl. Tried on recorded lines, which stand beside the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from madrun.results.nccl.bounded import Smallest
from madrun.results.nccl.processes import Process, Processes
from madrun.spec.transport import Gdr, NodeTransport

MARK = "CCL"  # NCCL, RCCL: no line that counts lacks it
_LEVEL = re.compile(r"NCCL (?P<level>INFO|WARN) ")
_SPEAKER = re.compile(r"(?P<host>[A-Za-z0-9_][\w.-]{0,254}):(?P<pid>\d{1,10}):\d{1,10}$")
_LONGEST_HEAD, _MOST_WORDS = 600, 3  # speaker, [GPU], and of a warning where in the source it stands
_VERSION = re.compile(r"(?<!\w)(?P<library>[NR]CCL) version\s*:?\s*(?P<version>\d+\.[\w.+:-]{1,80})")
_ADDRESS = re.compile(r"(?<![^\s\]])(?P<interface>[\w.@-]{1,40}):[0-9A-Fa-f.:]{1,64}(?:%[^\s<>]{1,40})?<\d{1,6}>")
_HCA = re.compile(r"\[\d{1,4}\]\s?(?P<name>[\w.+-]{1,64}:\d{1,3}/[A-Za-z]{1,16})")
_VIA = re.compile(
    r"via (?:(?P<kind>NET|COLLNET)/(?P<name>[\w. -]{1,64})/\d{1,5}(?:\(\d{1,7}\))?(?P<rest>[\w/]{0,64})"
    r"|(?P<near>P2P/[A-Za-z]{1,16}(?: pointer)?|SHM))"
)
_USING = re.compile(r"(?:Using network|Assigned NET plugin) (?P<name>[\w. -]{1,64}?)(?: to comm)?\s*$")
_RANK = re.compile(r" rank (?P<rank>\d{1,7}) n[rR]anks (?P<size>\d{1,7})(?!\d)")
_CHANNELS = re.compile(r"(?<!\d)(?P<count>\d{1,4}) coll channels")
_HCA_GDR = re.compile(r"GPU Direct RDMA (?P<state>[\w() ]{1,40}?) for HCA \d{1,4} '")
_SETTING = re.compile(
    r"(?P<name>NCCL_(?:IB|NET|SOCKET|OOB|P2P|SHM|CROSS)_?[A-Z0-9_]{0,40}) set (?:by environment )?to "
)
_PROVIDER = re.compile(r"NET/OFI Selected [Pp]rovider is (?P<name>[\w;-]{1,40})")
_PLUGIN = re.compile(r"(?:Loaded net plugin|NET/OFI Initializing) (?P<name>[^\n]{1,80})")
_HINTS = (
    "NET/IB : No device found.",
    "NET/IB : No IP interface found.",
    "Failed to open libibverbs.so[.1]",
    "Failed to initialize NET plugin IB",
)
_MOST, _MOST_WARNINGS, _LONGEST = 64, 10, 200
_OFF = "NCCL_IB_DISABLE"


class _Spoken(NamedTuple):
    """Where in a line something is said, and by whom: from `begin` on, with `end` as the end of its head."""

    begin: int
    end: int
    level: str
    host: str = ""
    pid: str = ""


def _spoken(line: str) -> list[_Spoken]:
    """Each `host:pid:thread [GPU] NCCL INFO` of a line; ranks that share a pipe may cut into each other's lines."""
    found = []
    for level in _LEVEL.finditer(line):
        start = max(0, level.start() - _LONGEST_HEAD)
        head = line[start : level.start()]
        for word in reversed(head.split()[-_MOST_WORDS:]):
            if match := _SPEAKER.search(word):
                begin = start + head.rindex(word) + match.start()
                found.append(_Spoken(begin, level.end(), level["level"], match["host"], match["pid"]))
                break
        else:
            found.append(_Spoken(level.start(), level.end(), level["level"]))
    return found


class Listening:
    """Takes lines in; `heard` is what they say, the same whatever their order. It never raises, and stays small."""

    def __init__(self) -> None:
        self._processes = Processes()
        self._versions, self._plugins, self._hosts = Smallest[str](4), Smallest[str](4), Smallest[str](_MOST)
        self._interfaces, self._oob = Smallest[str](_MOST), Smallest[str](_MOST)
        self._hcas, self._paths = Smallest[str](_MOST), Smallest[str](_MOST)
        self._settings, self._hints = Smallest[str](_MOST), Smallest[str](_MOST)
        self._warnings, self._providers = Smallest[str](_MOST_WARNINGS), Smallest[str](8)
        self._direct = Smallest[str](2)  # yes and no, of HCAs
        self._channels: int | None = None

    def take(self, line: str) -> None:
        """One line of a log, without escape codes; what other programs print in it does not matter."""
        if MARK not in line:
            return
        if " version" in line:
            for match in _VERSION.finditer(line):
                self._versions.add(f"{match['library']} {match['version']}")
        spoken = _spoken(line)
        ends = [*(one.begin for one in spoken[1:]), len(line)]
        if spoken and spoken[0].host:  # further on in the line the end of another word may stick to a name
            self._hosts.add(spoken[0].host)
        for one, end in zip(spoken, ends, strict=False):
            body = line[one.end : end].strip()
            if one.level == "WARN":
                self._warnings.add(_shown(body))
            elif body:
                self._hear(self._processes.of(f"{one.host}:{one.pid}"), body)

    def _hear(self, process: Process, body: str) -> None:
        for mark, hear in _HEARD:
            if mark in body:
                hear(self, process, body)
        if "ailed to " in body or "NET/IB : No " in body:
            for hint in _HINTS:
                if hint in body:
                    self._hints.add(hint)

    def _using(self, process: Process, body: str) -> None:
        if match := _USING.search(body):
            process.using.add(match["name"])

    def _via(self, process: Process, body: str) -> None:
        match = _VIA.search(body)
        if match is None:
            return
        if not match["kind"]:
            self._paths.add(match["near"].replace(" pointer", ""))
            return
        direct = "/GDRDMA" if "GDRDMA" in match["rest"] else ""
        self._paths.add(f"{match['kind']}/{match['name']}{direct}")
        if match["kind"] == "NET":
            process.via.add(match["name"])

    def _ib(self, process: Process, body: str) -> None:
        process.announced.add("IB")
        for match in _HCA.finditer(body):
            self._hcas.add(match["name"])
        self._out_of_band(process, body.partition("OOB")[2])

    def _socket(self, process: Process, body: str) -> None:
        found = [match["interface"] for match in _ADDRESS.finditer(body)]
        for name in found:
            self._interfaces.add(name)
        if found:
            process.announced.add("Socket")

    def _out_of_band(self, _process: Process, body: str) -> None:
        for match in _ADDRESS.finditer(body):
            self._oob.add(match["interface"])

    def _rank(self, process: Process, body: str) -> None:
        if match := _RANK.search(body):
            process.is_rank(int(match["rank"]), int(match["size"]))

    def _count(self, _process: Process, body: str) -> None:
        if match := _CHANNELS.search(body):
            self._channels = max(self._channels or 0, int(match["count"]))

    def _gdr(self, _process: Process, body: str) -> None:
        if match := _HCA_GDR.search(body):
            self._direct.add("yes" if "enabled" in match["state"].lower() else "no")

    def _setting(self, _process: Process, body: str) -> None:
        if match := _SETTING.search(body):
            value = _shown(body[match.end() :].removesuffix("."))
            self._settings.add(f"{match['name']} {value}")
            if match["name"] == _OFF and value not in ("", "0"):
                self._hints.add(f"{_OFF} set by environment to {value}")

    def _ofi(self, _process: Process, body: str) -> None:
        if match := _PROVIDER.search(body):
            self._providers.add(match["name"])

    def _plugin(self, _process: Process, body: str) -> None:
        if match := _PLUGIN.search(body):
            self._plugins.add(_shown(match["name"]))

    @property
    def heard(self) -> NodeTransport:
        """What the lines taken in so far say."""
        versions = [text.partition(" ") for text in self._versions.all()]
        return NodeTransport(
            library=" ".join(dict.fromkeys(library for library, _, _ in versions)),
            version=", ".join(version for _, _, version in versions),
            networks=self._processes.networks(self._providers.all()),
            interfaces=self._interfaces.all(),
            oob=self._oob.all(),
            hcas=self._hcas.all(),
            gdr=self._direct_access(),
            channels=self._channels,
            paths=self._paths.counts(),
            plugins=(*self._plugins.all(), *(f"libfabric provider {name}" for name in self._providers.all())),
            settings=_joined(self._settings.all()),
            hints=self._hints.all(),
            warnings=self._warnings.all(),
            hosts=self._hosts.all(),
        )

    def _direct_access(self) -> Gdr:
        """As the connections were made; else as the adapters are said to be able to."""
        paths = [path for path in self._paths.all() if path.startswith("NET/")]
        said = {path.endswith("/GDRDMA") for path in paths} or {word == "yes" for word in self._direct.all()}
        return "unknown" if not said else "partly" if len(said) > 1 else "yes" if True in said else "no"


_Hear = Callable[[Listening, Process, str], None]
# What a line that means something holds, before any pattern is tried on it.
_HEARD: tuple[tuple[str, _Hear], ...] = (
    (" via ", Listening._via),
    ("Using network ", Listening._using),
    ("Assigned NET plugin ", Listening._using),
    ("NET/IB : Using [", Listening._ib),
    ("NET/Socket : Using [", Listening._socket),
    ("Bootstrap : Using ", Listening._out_of_band),
    ("Bootstrap: Using ", Listening._out_of_band),
    (" - Init ", Listening._rank),
    (" coll channels", Listening._count),
    ("GPU Direct RDMA ", Listening._gdr),
    (" to ", Listening._setting),
    ("NET/OFI ", Listening._ofi),
    ("NET/OFI Initializing ", Listening._plugin),
    ("Loaded net plugin ", Listening._plugin),
)


def _shown(text: str) -> str:
    """As part of a line on a terminal: short, and without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST])


def _joined(settings: tuple[str, ...]) -> dict[str, str]:
    """By name; the values of processes that differ stand side by side."""
    found: dict[str, str] = {}
    for text in settings:
        name, _, value = text.partition(" ")
        found[name] = f"{found[name]} | {value}" if name in found else value
    return found

"""Which process said which network it uses."""

from __future__ import annotations

from madrun.results.nccl.bounded import Smallest
from madrun.spec.transport import Kind, Network

_MOST_PROCESSES, _MOST_NAMES, _MOST_RANKS = 4096, 8, 64
_RDMA_PROVIDERS = frozenset({"efa", "efa-direct", "cxi", "verbs", "psm2", "psm3", "opx"})
_SOCKET_PROVIDERS = frozenset({"tcp", "sockets", "udp", "net"})


def kind_of(name: str, providers: tuple[str, ...] = ()) -> Kind:
    """What a network of this name is; `providers`: those of libfabric. Empty for a plugin that may be either.

    IBext and IBext_v8: NVIDIA's nccl-rdma-sharp-plugins; gIB and FastSocket: Google's; RCCL-ANP: AMD's plugin for RCCL;
    ROCM-IB and IB-CAST: networks of RCCL itself beside IB.
    """
    word = name.lower()
    if word in ("socket", "fastsocket"):
        return "sockets"
    if word in ("ib", "gib", "anp", "rccl-anp", "rocm-ib", "ib-cast") or word.startswith("ibext"):
        return "rdma"
    if "libfabric" in word or word == "ofi":
        found = {provider.partition(";")[0] for provider in providers}
        return "rdma" if found and found <= _RDMA_PROVIDERS else "sockets" if found & _SOCKET_PROVIDERS else ""
    return ""


class Process:
    """One process: networks that it announced, chose, and connected by; its ranks of the greatest communicator."""

    def __init__(self) -> None:
        self.announced, self.using = Smallest[str](_MOST_NAMES), Smallest[str](_MOST_NAMES)
        self.via = Smallest[str](_MOST_NAMES)
        self.size, self.ranks = 0, Smallest[int](_MOST_RANKS)

    def is_rank(self, rank: int, size: int) -> None:
        """It is this rank of a communicator of this size."""
        if size > self.size:
            self.size, self.ranks = size, Smallest[int](_MOST_RANKS)
        if size == self.size:
            self.ranks.add(rank)

    def networks(self) -> tuple[str, ...]:
        """The nearest to what was done counts: connections, then the choice, then what was only found.

        Old releases announce Socket beside IB, and then use IB.
        """
        found = self.announced.all()
        return self.via.all() or self.using.all() or (("IB",) if "IB" in found else found)


class Processes:
    """The processes of one log by host and number."""

    def __init__(self) -> None:
        self._names = Smallest[str](_MOST_PROCESSES)
        self._known: dict[str, Process] = {}

    def of(self, name: str) -> Process:
        """The process of this name; one that is soon forgotten where there are too many."""
        known = self._known.get(name)
        if known is not None:
            return known
        self._names.add(name)
        made = Process()
        self._known[name] = made
        if len(self._known) > 2 * _MOST_PROCESSES:
            self._known = self._kept()
        return made

    def _kept(self) -> dict[str, Process]:
        return {name: self._known[name] for name in self._names.all()}

    def networks(self, providers: tuple[str, ...]) -> tuple[Network, ...]:
        """Each network with those that use it, sorted by name; ranks are those of the greatest communicator of all."""
        users: dict[str, list[Process]] = {}
        known = self._kept()
        for process in known.values():
            for name in process.networks():
                users.setdefault(name, []).append(process)
        size = max((process.size for process in known.values()), default=0)
        return tuple(
            Network(
                name=name,
                kind=kind_of(name, providers),
                ranks=tuple(sorted({rank for one in using if one.size == size for rank in one.ranks.all()})),
                processes=len(using),
            )
            for name, using in sorted(users.items())
        )

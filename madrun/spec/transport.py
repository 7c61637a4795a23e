"""What the ranks of a run talked over: what the libraries said of it, and what the counters of the host say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["rdma", "sockets", ""]
Gdr = Literal["yes", "no", "partly", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network between nodes, by the name that NCCL gives it (`IB`, `Socket`, or a plugin's), and who used it.

    `kind`: what it is, empty where the name does not tell. `ranks` are global ones, as far as they were said.
    """

    name: str
    kind: Kind = ""
    ranks: tuple[int, ...] = ()
    processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Bytes that came in and went out while the script ran, of all programs of the host; None where not known."""

    received: int | None = None
    sent: int | None = None

    @property
    def most(self) -> int:
        """The greater of the two; 0 where neither is known."""
        return max(self.received or 0, self.sent or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTransport:
    """One node's. What was not said is empty, None or `unknown`.

    `library` is `NCCL` or `RCCL`. `interfaces`: those of NET/Socket; `oob`: those of the bootstrap and out-of-band
    connections; `hcas` as `mlx5_0:1/RoCE`. `gdr`: whether the network reads and writes the GPUs' memory itself.
    `channels`: the most of any communicator. `paths`: lines of connections by the way they took (`NET/IB/GDRDMA`,
    `P2P/CUMEM`). `settings`: variables that NCCL says it heeds. `hints`: lines that tell why a network is not used.
    `hosts`: names in the lines. `asked_interface`: NCCL_SOCKET_IFNAME of the plan; `at_hand`: the ports of
    adapters that the plan found fit for the job (`mlx5_0:1`). `bytes`: by interface, and by port
    of an adapter (`mlx5_0:1`); `rdma_bytes`: those of all ports without IPoIB, the greater way, None where no port
    could be read.
    """

    library: str = ""
    version: str = ""
    networks: tuple[Network, ...] = ()
    interfaces: tuple[str, ...] = ()
    oob: tuple[str, ...] = ()
    hcas: tuple[str, ...] = ()
    gdr: Gdr = "unknown"
    channels: int | None = None
    paths: dict[str, int] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    asked_interface: str = ""
    at_hand: tuple[str, ...] = ()
    bytes: dict[str, Moved] = field(default_factory=dict)
    rdma_bytes: int | None = None

    @property
    def kinds(self) -> frozenset[Kind]:
        """What kinds of network its ranks used; nothing where no line says so."""
        return frozenset(network.kind for network in self.networks)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTransport:
    """The whole run's, in words: `asked` is TRANSPORT of the plan, `text` one line for people.

    `differs`: what differs between nodes, empty where all are alike. `warnings`: what a reader of the number must know
    though the plan did not exclude it.
    """

    asked: str = "auto"
    text: str = ""
    differs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def names_interface(asked: str, name: str) -> bool:
    """Whether NCCL_SOCKET_IFNAME allows the interface: prefixes, `=` whole names, `^` none of these.

    What follows a colon in a word is a port, and does not count. Source: "Environment Variables" of the NCCL manual.
    """
    excluded, rest = asked.startswith("^"), asked.removeprefix("^")
    exact, rest = rest.startswith("="), rest.removeprefix("=")
    words = [word.partition(":")[0] for word in rest.split(",") if word]
    if not words:
        return True
    return any(name == word if exact else name.startswith(word) for word in words) != excluded

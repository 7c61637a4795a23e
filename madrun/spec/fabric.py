"""The adapters for RDMA of a host as the kernel shows them.

Names and formats of the files: kernel, Documentation/ABI/stable/sysfs-class-infiniband.
"""

from __future__ import annotations

from dataclasses import dataclass

INFINIBAND, ROCE, IWARP, EFA = "infiniband", "roce", "iwarp", "efa"
_AMAZON = "0x1d0f"
_RNIC = "RNIC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gid:
    """One entry of a port's table of addresses: `address` as an IPv6 literal, IPv4 ones mapped (`::ffff:10.0.0.1`).

    `kind` as the kernel says it (`RoCE v2`, `IB/RoCE v1`); `netdev` the interface that it belongs to; empty = unknown.
    """

    index: int
    address: str
    kind: str = ""
    netdev: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HcaPort:
    """One port. Words as the kernel says them, without their numbers: `ACTIVE`, `LinkUp`, `InfiniBand`, `Ethernet`.

    `rate` in Gb/s with `lanes` as `4X NDR`; `gids` without the empty ones; `netdev` the interface on the same port;
    `default_route`: the host's default route leads through it. What could not be read is empty or None.
    """

    number: int
    state: str = ""
    phys_state: str = ""
    link_layer: str = ""
    rate: float | None = None
    lanes: str = ""
    lid: int | None = None
    gids: tuple[Gid, ...] = ()
    netdev: str = ""
    default_route: bool = False

    @property
    def up(self) -> bool:
        """Whether it can carry data: what is not known is not up."""
        return self.state == "ACTIVE" and self.phys_state in ("LinkUp", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hca:
    """One adapter by the kernel's name of it (`mlx5_0`); what could not be read is empty or None.

    `driver`: of its PCI device (`mlx5_core`); `vendor` and `device` are PCI ids (`0x15b3`); `bus` the PCI address;
    `bridges`: what is above it, the host's bridge first (`pci0000:17`, `0000:17:01.0`); `physical`: of a virtual
    function (SR-IOV) the PCI address of the adapter that it is a part of. `board` and `firmware` name and version;
    `node_type` as `CA` or `RNIC`.
    """

    name: str
    driver: str = ""
    vendor: str = ""
    device: str = ""
    board: str = ""
    firmware: str = ""
    model: str = ""
    node_type: str = ""
    node_guid: str = ""
    numa: int | None = None
    bus: str = ""
    bridges: tuple[str, ...] = ()
    physical: str = ""
    ports: tuple[HcaPort, ...] = ()

    def kind(self, port: HcaPort) -> str:
        """What the port speaks: `infiniband`, `roce`, `iwarp`, `efa`; empty where the kernel does not say."""
        if self.driver == "efa" or self.vendor == _AMAZON:
            return EFA
        if port.link_layer == "InfiniBand":
            return INFINIBAND
        if port.link_layer == "Ethernet":
            return IWARP if self.node_type == _RNIC else ROCE
        return ""

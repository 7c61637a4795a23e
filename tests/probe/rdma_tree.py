"""The sysfs of hosts with RDMA adapters, built in a folder in the formats of the kernel's sources (not recordings)."""

from pathlib import Path

EMPTY_GID = "0000:0000:0000:0000:0000:0000:0000:0000"
LINK_LOCAL = "fe80:0000:0000:0000:0000:00ff:fe00:{:04x}"


def mapped(address):
    """A GID of an IPv4 address, as the kernel prints it."""
    a, b, c, d = map(int, address.split("."))
    return f"0000:0000:0000:0000:0000:ffff:{a:02x}{b:02x}:{c:02x}{d:02x}"


class RdmaTree:
    """`plain`: folders where the kernel has links, as in a copy."""

    def __init__(self, root, plain=False):
        self.root, self.plain = Path(root), plain

    def write(self, path, text=""):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def link(self, path, target):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(self.root / target)

    def pci(self, path, **files):
        """A device below these bridges: `pci0000:17/0000:17:01.0/0000:18:00.0`."""
        home = f"sys/devices/{path}"
        for name, text in files.items():
            self.write(f"{home}/{name}", text)
        self.link(f"sys/bus/pci/devices/{path.rpartition('/')[2]}", home)
        return home

    def hca(self, name, path, driver, vendor, device, numa=0, node_type="1: CA", **more):
        """An adapter without ports. `more`: files beside it, such as fw_ver."""
        bus = path.rpartition("/")[2]
        uevent = f"DRIVER={driver}\nPCI_CLASS=20700\nPCI_SLOT_NAME={bus}"
        files = {"uevent": uevent, "vendor": vendor, "device": device, "numa_node": numa}
        if self.plain:
            for file, text in files.items():
                self.write(f"sys/class/infiniband/{name}/device/{file}", text)
        else:
            home = self.pci(path, **files)
            self.link(f"sys/class/infiniband/{name}", f"{home}/infiniband/{name}")
            self.write(f"{home}/infiniband/{name}/node_guid", "0c42:a103:00aa:bb01")
            self.link(f"{home}/infiniband/{name}/device", home)
        for file, text in {"node_type": node_type, **more}.items():
            self.write(f"sys/class/infiniband/{name}/{file}", text)

    def port(self, hca, number=1, rate="400 Gb/sec (4X NDR)", state="4: ACTIVE", phys="5: LinkUp", **more):
        """`more`: `layer`, `lid`, and `gids` as (index, address, type, interface)."""
        home = f"sys/class/infiniband/{hca}/ports/{number}"
        layer = more.get("layer", "InfiniBand")
        texts = {"rate": rate, "state": state, "phys_state": phys, "link_layer": layer, "lid": more.get("lid", "0x0")}
        for name, text in texts.items():
            self.write(f"{home}/{name}", text)
        known = {index: rest for index, *rest in more.get("gids", ())}
        for index in range(max([*known, 3]) + 1):
            address, kind, netdev = known.get(index, (EMPTY_GID, "", ""))
            self.write(f"{home}/gids/{index}", address)
            for folder, text in (("types", kind), ("ndevs", netdev)):
                if text:  # the kernel refuses to read those of an unused entry
                    self.write(f"{home}/gid_attrs/{folder}/{index}", text)

    def infiniband(self, name, path, rate="400 Gb/sec (4X NDR)", numa=0, **port):
        """ConnectX-7 on InfiniBand."""
        firmware = {"fw_ver": "28.39.1002", "hca_type": "MT4129", "board_id": "MT_0000000838"}
        self.hca(name, path, "mlx5_core", "0x15b3", "0x1021", numa, **firmware)
        self.port(name, rate=rate, lid="0x2a", gids=[(0, LINK_LOCAL.format(7), "IB/RoCE v1", "")], **port)

    def roce(self, name, path, netdev, address="", numa=0, driver="mlx5_core", **port):
        """A table as mlx5_core and bnxt_re fill it: both kinds, link-local first, then IPv4."""
        vendor = {"mlx5_core": "0x15b3", "bnxt_en": "0x14e4", "ionic": "0x1dd8", "ice": "0x8086"}[driver]
        self.hca(name, path, driver, vendor, "0x1021", numa, fw_ver="28.39.1002")
        kinds = ("RoCE v2",) if driver in ("ionic", "ice") else ("IB/RoCE v1", "RoCE v2")
        addresses = [LINK_LOCAL.format(9), *([mapped(address)] if address else [])]
        gids = [(a, kind, netdev) for a in addresses for kind in kinds]
        self.port(name, layer="Ethernet", gids=[(i, *gid) for i, gid in enumerate(gids)], **port)

    def default_route(self, interface, *lower):
        """The default route leads through the interface, which stands on the others."""
        head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
        rows = [f"{interface}\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"]
        rows.append("docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0")
        self.write("proc/net/route", "\n".join([head, *rows]))
        for name in lower:
            self.write(f"sys/class/net/{interface}/lower_{name}/ifindex", 3)

    def gpu(self, path, numa=0):
        """Returns its bus."""
        self.pci(path, numa_node=numa)
        return path.rpartition("/")[2]


def eight_and_eight(tree):
    """Eight GPUs and eight adapters in pairs below PCI switches, and two more for the host itself; the GPUs' buses."""
    buses = []
    for index in range(8):
        root = f"pci0000:{index + 1:02x}/0000:{index + 1:02x}:01.0/0000:{index + 0x10:02x}:00.0"
        numa = index // 4
        tree.infiniband(f"mlx5_{index}", f"{root}/0000:{index + 0x20:02x}:00.0/0000:{index + 0x40:02x}:00.0", numa=numa)
        buses.append(tree.gpu(f"{root}/0000:{index + 0x30:02x}:00.0/0000:{index + 0x60:02x}:00.0", numa))
    tree.roce("mlx5_8", "pci0000:a0/0000:a0:01.0/0000:a1:00.0", "eth0", "192.168.0.7", rate="100 Gb/sec (4X EDR)")
    tree.roce("mlx5_9", "pci0000:a0/0000:a0:01.0/0000:a1:00.1", "eth1", state="1: DOWN", phys="3: Disabled")
    tree.default_route("eth0")
    return buses

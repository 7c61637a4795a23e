import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.health import pci
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import Acs

BRIDGE = "0000:00:01.0"


def config(*capabilities, size=4096):
    """A configuration space with these extended capabilities: id and the 16 bits behind 6 bytes of each."""
    found = bytearray(size)
    for at, (name, control) in enumerate(capabilities):
        place = 0x100 + at * 0x40
        following = place + 0x40 if at + 1 < len(capabilities) else 0
        found[place : place + 4] = (name | 1 << 16 | following << 20).to_bytes(4, "little")
        found[place + 6 : place + 8] = control.to_bytes(2, "little")
    return bytes(found)


@pytest.fixture
def bus(host):
    """A bus with a bridge, on which devices are put by `device`."""

    def device(address, kind, vendor="0x8086", space=b"", driver="x"):
        host.pci(address, **{"class": kind, "vendor": vendor})
        (host.root / f"sys/bus/pci/devices/{address}/config").write_bytes(space)
        if driver:
            (host.root / f"sys/bus/pci/devices/{address}/driver").symlink_to(f"/sys/bus/pci/drivers/{driver}")

    device(BRIDGE, "0x060400", space=config((0x01, 0), (0x0D, 0x1D)))
    host.device = device
    return host


def test_gpus_are_told_from_other_devices_and_without_a_driver(bus):
    bus.device("0000:03:00.0", "0x120000", "0x1002", driver="")
    bus.device("0000:04:00.0", "0x030200", "0x10de", driver="nvidia")
    bus.device("0000:05:00.0", "0x030000", "0x10de", driver="nouveau")
    bus.device("0000:05:00.1", "0x040300", "0x10de")  # its sound
    bus.device("0000:06:00.0", "0x030000", "0x1a03")  # of the board's management
    found = pci.gpus(Source(bus.root))
    assert found.addresses == {"amd": ("0000:03:00.0",), "nvidia": ("0000:04:00.0", "0000:05:00.0")}
    assert found.bound == ("0000:04:00.0", "0000:05:00.0")
    assert found.screens == ("0000:05:00.0",)


def test_a_host_without_pci_has_no_gpus(host):
    host.write("sys/bus/cpu/uevent")
    assert pci.gpus(Source(host.root)).addresses == {}


def test_iommu_groups_are_told_by_their_kind(bus):
    for address, kind in (("0000:03:00.0", "DMA-FQ"), ("0000:04:00.0", "identity")):
        bus.write(f"sys/bus/pci/devices/{address}/iommu_group/type", f"{kind}\n")
    found = pci.iommu(Source(bus.root), ("0000:03:00.0", "0000:04:00.0", BRIDGE))
    assert found.kinds == {"DMA-FQ": ("0000:03:00.0",), "identity": ("0000:04:00.0",), "none": (BRIDGE,)}


def test_a_virtual_machine_that_sees_neither_iommu_nor_acs_does_not_know(host):
    host.pci("0000:03:00.0", **{"class": "0x120000", "vendor": "0x1002"})
    source = Source(host.root)
    assert pci.iommu(source, ("0000:03:00.0",)).kinds == {"none": ("0000:03:00.0",)}
    assert pci.acs(source) == Acs()
    host.write("proc/cpuinfo", "flags\t\t: fpu hypervisor\n")
    for look in (pci.acs, lambda source: pci.iommu(source, ("0000:03:00.0",))):
        with pytest.raises(Unreadable, match="a virtual machine: look on its host"):
            look(source)


def test_bridges_that_redirect_are_found_in_the_configuration_space(bus):
    bus.device("0000:00:02.0", "0x060400", space=config((0x0D, 0x00)))
    bus.device("0000:00:03.0", "0x060400", space=config((0x01, 0xFF)))
    bus.device("0000:00:04.0", "0x020000")
    found = pci.acs(Source(bus.root))
    assert found == Acs(able=(BRIDGE, "0000:00:02.0"), redirecting=(BRIDGE,))


def test_a_user_who_sees_the_first_64_bytes_alone_is_told_to_be_root(bus):
    bus.device("0000:00:02.0", "0x060400", space=bytes(64))
    with pytest.raises(Unreadable, match="only root may read the PCI configuration"):
        pci.acs(Source(bus.root))


@pytest.mark.slow
@given(st.binary(max_size=600))
def test_any_configuration_space_comes_to_an_end(space):
    found = pci.acs_control(bytes(0x100) + space)
    assert found is None or 0 <= found <= 0xFFFF

import pytest

from madrun.doctor.asked import Asked
from madrun.doctor.rules import pci
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.health import NO_GROUP, Acs, Iommu, PciGpus

ADDRESSES = ("0000:01:00.0", "0000:02:00.0")
TWO = Accelerator(vendor="amd", gpus=tuple(Gpu(index=i, bus=bus, model="MI300X") for i, bus in enumerate(ADDRESSES)))


@pytest.mark.parametrize(
    ("listed", "known", "state", "words"),
    [
        (PciGpus(), Accelerator(), "PASS", "none on the PCI bus"),
        (PciGpus(addresses={"amd": ADDRESSES}, bound=ADDRESSES), TWO, "PASS", "2 x MI300X"),
        (PciGpus(addresses={"nvidia": ADDRESSES}), Accelerator(), "FAIL", "2 of nvidia on the PCI bus, and no driver"),
        (PciGpus(addresses={"amd": ADDRESSES}, bound=ADDRESSES), Accelerator(), "FAIL", "offers none to this process"),
        (
            PciGpus(addresses={"amd": ADDRESSES[:1]}, bound=ADDRESSES[:1], screens=ADDRESSES[:1]),
            Accelerator(),
            "WARN",
            "1 of amd",
        ),
        (
            PciGpus(addresses={"amd": (*ADDRESSES, "0000:03:00.0")}, bound=ADDRESSES),
            TWO,
            "WARN",
            "the PCI bus lists 3",
        ),
        (PciGpus(), Accelerator(hidden=8, notes=("8 hidden",)), "WARN", "8 hidden from this process"),
    ],
)
def test_gpus_of_the_bus_are_held_against_those_of_the_driver(make_facts, listed, known, state, words):
    (found,) = pci.gpus(listed, make_facts(accelerator=known), Asked())
    assert (found.state, words in found.text) == (state, True), found


def test_the_parts_of_a_cut_gpu_are_one_device(make_facts):
    parts = tuple(Gpu(index=i, bus=f"0000:01:00.{i}", model="MI300X (CPX)") for i in range(8))
    cut = "compute partition mode CPX: 8 devices on 1 GPUs"
    facts = make_facts(accelerator=Accelerator(vendor="amd", gpus=parts, notes=(cut,)))
    (found,) = pci.gpus(PciGpus(addresses={"amd": ADDRESSES[:1]}, bound=ADDRESSES[:1]), facts, Asked())
    assert (found.state, cut in found.text) == ("PASS", True)


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ({NO_GROUP: ADDRESSES}, "PASS"),
        ({"identity": ADDRESSES}, "PASS"),
        ({"DMA": ADDRESSES[:1], "identity": ADDRESSES[1:]}, "WARN"),
        ({"DMA-FQ": ADDRESSES}, "WARN"),
        ({"auto": ADDRESSES}, "UNKNOWN"),
    ],
)
def test_an_iommu_that_translates_is_told(make_facts, kinds, state):
    (found,) = pci.iommu(Iommu(kinds=kinds), make_facts(), Asked())
    assert found.state == state
    assert ("iommu=pt" in found.advice) == (state == "WARN")


def test_bridges_that_redirect_are_named(make_facts):
    able = tuple(f"0000:{bus:02x}:01.0" for bus in range(9))
    (found,) = pci.acs(Acs(able=able, redirecting=able[:6]), make_facts(), Asked())
    assert found.state == "WARN"
    assert found.text.startswith("6 of 9 bridges redirect: 0000:00:01.0, ")
    assert found.text.endswith("and 2 more")
    assert pci.acs(Acs(able=able), make_facts(), Asked())[0].state == "PASS"

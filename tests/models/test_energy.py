"""Energy counters of both vendors through stand-ins for their packages, and what is not believed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

DEVICE = SimpleNamespace(uuid="abc", pci_domain_id=0, pci_bus_id=0xC1, pci_device_id=0)


@pytest.fixture
def energy(load):
    return load("energy")


def package(monkeypatch, name: str, **functions: object) -> None:
    module = ModuleType(name)
    module.__dict__.update(functions)
    monkeypatch.setitem(sys.modules, name, module)


def test_nvidia_counts_millijoules_of_the_device_with_this_uuid(energy, monkeypatch):
    package(
        monkeypatch,
        "pynvml",
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={b"GPU-abc": "handle"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption={"handle": 12_345_678}.__getitem__,
    )
    assert energy.open_meter(DEVICE, hip=False)() == pytest.approx(12345.678)


@pytest.mark.parametrize("key", ["energy_accumulator", "power"])
def test_amd_counts_in_units_of_its_resolution(energy, monkeypatch, key):
    package(
        monkeypatch,
        "amdsmi",
        amdsmi_init=lambda: None,
        amdsmi_get_processor_handle_from_bdf={"0000:c1:00.0": 7}.__getitem__,
        amdsmi_get_energy_count={7: {key: 1_000_000, "counter_resolution": 15.3, "timestamp": 1}}.__getitem__,
    )
    assert energy.open_meter(DEVICE, hip=True)() == pytest.approx(15.3)


def test_without_the_package_or_the_counter_there_is_no_meter(energy, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert energy.open_meter(DEVICE, hip=False) is None
    assert energy.open_meter(DEVICE, hip=True) is None
    package(monkeypatch, "pynvml", nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: 1)
    assert energy.open_meter(DEVICE, hip=False) is None


@pytest.mark.parametrize(
    ("before", "after", "seconds", "joules"),
    [
        (100.0, 7100.0, 10.0, 7000.0),
        (None, 7100.0, 10.0, None),
        (100.0, None, 10.0, None),
        (100.0, 100.0, 10.0, None),  # a counter that stands still
        (7100.0, 100.0, 10.0, None),  # one that started anew
        (0.0, 51000.0, 10.0, None),  # 5.1 kW of one device
        (100.0, 800.0, 1.9, None),  # too short a time for how often it is refreshed
    ],
)
def test_a_difference_that_cannot_be_believed_is_none(energy, before, after, seconds, joules):
    assert energy.spent(before, after, seconds) == joules


@pytest.mark.parametrize(("parts", "sum_"), [([1.0, 2.0], 3.0), ([1.0, None], None), ([], None)])
def test_energy_is_that_of_all_devices_or_unknown(energy, parts, sum_):
    assert energy.total(parts) == sum_

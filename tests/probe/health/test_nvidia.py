from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.health import nvidia
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import HostGpus

FORMATS = Path(__file__).parent / "formats"


class Answering(Source):
    def __init__(self, root, text):
        super().__init__(root)
        self._text = text

    def run(self, argv):
        assert tuple(argv) == ("nvidia-smi", "-q", "-x")
        return self._text


def gpus_of(tmp_path, name):
    return nvidia.gpus(Answering(tmp_path, (FORMATS / name).read_text())).gpus


def test_a_healthy_gpu_of_a_new_driver_is_read_whole(tmp_path):
    first, _ = gpus_of(tmp_path, "nvidia-smi-v12.xml")
    assert (first.label, first.bus) == ("GPU 0", "0000:18:00.0")
    assert (first.memory_used, first.memory_total) == (4 << 20, 81559 << 20)
    assert (first.power_limit, first.power_default, first.persistent) == (700, 700, True)
    assert (first.ecc, first.uncorrected, first.corrected) == (True, 0, 3)  # since the driver was loaded, not ever
    assert (first.pending, first.unrepairable) == (False, False)
    assert (first.slowed, first.processes, first.fabric) == ((), (), "Completed")


def test_a_sick_gpu_tells_its_errors_its_cap_and_who_is_on_it(tmp_path, host):
    host.write("proc/4711/status", "Name:\tpython3\nUid:\t4242424\t0\t0\t0\n")
    host.write("proc/4711/cgroup", f"0::/system.slice/docker-{'ab' * 32}.scope\n")
    second = gpus_of(tmp_path, "nvidia-smi-v12.xml")[1]
    assert (second.uncorrected, second.pending, second.unrepairable) == (2, True, True)
    assert (second.power_limit, second.power_default, second.persistent) == (500, 700, False)
    assert second.fabric == "In Progress"
    assert second.slowed == ("sw_power_cap", "hw_thermal_slowdown")
    (process,) = second.processes
    assert (process.pid, process.name, process.kind, process.memory) == (4711, "python3", "C", 39000 << 20)
    assert (process.owner, process.container) == ("4242424", "abababababab")


def test_in_a_container_no_process_is_no_proof_and_a_number_of_the_host_is_nobody_here(tmp_path, host):
    host.write("proc/4711/status", "Name:\tinit\nUid:\t0\t0\t0\t0\n")
    namespace = tmp_path / "proc/self/ns/pid"
    namespace.parent.mkdir(parents=True, exist_ok=True)
    namespace.symlink_to("pid:[4026532999]")
    found = nvidia.gpus(Answering(tmp_path, (FORMATS / "nvidia-smi-v12.xml").read_text()))
    assert found.gpus[0].processes is None
    assert "look on the host" in found.unread["processes"]
    (process,) = found.gpus[1].processes
    assert (process.pid, process.name, process.owner, process.container) == (4711, "python3", "", "")
    namespace.unlink()
    namespace.symlink_to("pid:[4026531836]")
    assert nvidia.gpus(Answering(tmp_path, (FORMATS / "nvidia-smi-v12.xml").read_text())).gpus[0].processes == ()


def test_the_names_of_older_drivers_are_read_too(tmp_path):
    (gpu,) = gpus_of(tmp_path, "nvidia-smi-v11.xml")
    assert (gpu.uncorrected, gpu.corrected, gpu.pending) == (0, 2, True)
    assert (gpu.power_limit, gpu.power_default) == (300, 300)
    assert gpu.slowed == ("hw_power_brake_slowdown",)
    assert gpu.processes is None  # N/A is not the same as none
    assert gpu.unrepairable is None


def test_a_mismatch_of_driver_and_library_is_told_in_the_tools_words(tmp_path):
    with pytest.raises(Unreadable, match="Driver/library version mismatch"):
        nvidia.gpus(Answering(tmp_path, "Failed to initialize NVML: Driver/library version mismatch\n"))


WHOLE = ElementTree.parse(FORMATS / "nvidia-smi-v12.xml").getroot()
PLACES = [element for element in WHOLE.iter() if len(element) == 0]


@pytest.mark.slow
@given(data=st.data())
def test_any_text_in_any_place_is_read_or_not_known(data, tmp_path_factory):
    text = ElementTree.tostring(WHOLE, encoding="unicode")
    said = data.draw(st.sampled_from(PLACES)).text
    other = data.draw(st.sampled_from(["", "N/A", "[N/A]", "Enabled", "-1", "9" * 30, "1e400 W", "nan MiB", "Active"]))
    if said and said.strip():
        text = text.replace(f">{said}<", f">{other}<")
    found = nvidia.gpus(Answering(tmp_path_factory.getbasetemp(), text))
    assert isinstance(found, HostGpus)
    assert len(found.gpus) == 2

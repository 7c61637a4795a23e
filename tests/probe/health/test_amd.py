import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.accelerator.tools import Unanswered
from madrun.probe.health import amd
from madrun.probe.health.amdthrottle import slowed
from madrun.probe.health.source import Source, Unreadable

FIRST, SECOND = "0000:01:00.0", "0000:02:00.0"


class Answering(Source):
    def __init__(self, root, text=None):
        super().__init__(root)
        self._text = text

    def run(self, argv):
        if self._text is None:
            raise Unanswered(f"{argv[0]}: No such file or directory")
        return self._text


def throttle(*statuses):
    """As amd-smi of ROCm 7 prints it: what is at rest is below its limit and has low utilization, which is no fault."""
    resting = {"gfx_clk_below_host_limit_violation_status": "ACTIVE", "low_utilization_violation_status": "ACTIVE"}
    found = [{"gpu": at, "throttle": {"ppt_accumulated": 7, **resting, **one}} for at, one in enumerate(statuses)]
    return json.dumps({"gpu_data": found})


@pytest.fixture
def two(host):
    """Two GPUs at rest, with all that sysfs has of them."""
    for node, bus in ((1, FIRST), (2, SECOND)):
        host.gpu_node(node)
        host.write(f"sys/class/kfd/kfd/topology/nodes/{node}/gpu_id", f"{1000 + node}\n")
        host.pci(bus, mem_info_vram_used=300 << 20, mem_info_vram_total=192 << 30)
        host.write(f"sys/bus/pci/devices/{bus}/hwmon/hwmon3/power1_cap", "750000000\n")
        host.write(f"sys/bus/pci/devices/{bus}/hwmon/hwmon3/power1_cap_default", "750000000\n")
        host.write(f"sys/bus/pci/devices/{bus}/ras/umc_err_count", "ue: 0\nce: 2\n")
        host.write(f"sys/bus/pci/devices/{bus}/ras/sdma_err_count", "ue: 0\nce: 0\n")
    host.write("sys/class/kfd/kfd/proc/.keep")
    (host.root / "sys/class/kfd/kfd/proc/.keep").unlink()
    return host


def test_gpus_at_rest_are_read_whole_from_sysfs(two):
    found = amd.gpus(
        Answering(two.root, throttle({"ppt_violation_status": "NOT ACTIVE"}, {"ppt_violation_status": "NOT ACTIVE"}))
    )
    assert [(gpu.label, gpu.bus) for gpu in found.gpus] == [("GPU 0", FIRST), ("GPU 1", SECOND)]
    gpu = found.gpus[0]
    assert (gpu.memory_used, gpu.memory_total) == (300 << 20, 192 << 30)
    assert (gpu.power_limit, gpu.power_default) == pytest.approx((750, 750))
    assert (gpu.uncorrected, gpu.corrected, gpu.slowed, gpu.processes) == (0, 2, (), ())
    assert not found.unread


def test_processes_are_named_on_the_gpu_whose_memory_they_hold(two):
    two.write("sys/class/kfd/kfd/proc/77/vram_1001", "0\n")
    two.write("sys/class/kfd/kfd/proc/77/vram_1002", f"{5 << 30}\n")
    two.write("proc/77/cmdline", "/usr/bin/python3\0train.py\0")
    two.write("proc/77/status", "Uid:\t0\t0\t0\t0\n")
    first, second = amd.gpus(Answering(two.root)).gpus
    assert first.processes == ()
    (process,) = second.processes
    assert (process.pid, process.name, process.memory, process.owner) == (77, "python3 train.py", 5 << 30, "root")


def test_errors_of_all_blocks_count(two):
    two.write(f"sys/bus/pci/devices/{SECOND}/ras/gfx_err_count", "ue: 3\nce: 1\n")
    second = amd.gpus(Answering(two.root)).gpus[1]
    assert (second.uncorrected, second.corrected) == (3, 3)


def test_what_sysfs_lacks_is_not_known_and_said(two):
    for name in ("power1_cap", "power1_cap_default"):
        (two.root / f"sys/bus/pci/devices/{FIRST}/hwmon/hwmon3/{name}").unlink()
    found = amd.gpus(Answering(two.root))
    assert found.gpus[0].power_limit is None
    assert found.gpus[1].power_limit is not None
    assert "power1_cap" in found.unread["power"]
    assert found.unread["clocks"] == "amd-smi: No such file or directory"


def test_reasons_of_a_lower_clock_are_told_by_pci_address(two):
    """amd-smi counts by address; the parts of a GPU may have one status each."""
    hot = {"socket_thermal_violation_status": {"xcp_0": ["NOT ACTIVE", "ACTIVE"]}, "ppt_violation_status": "ACTIVE"}
    first, second = amd.gpus(Answering(two.root, throttle({"ppt_violation_status": "NOT ACTIVE"}, hot))).gpus
    assert first.slowed == ()
    assert set(second.slowed) == {"socket_thermal", "ppt"}


def test_a_tool_that_counts_other_gpus_tells_nothing(two):
    found = amd.gpus(Answering(two.root, throttle({"ppt_violation_status": "ACTIVE"})))
    assert found.gpus[0].slowed is None
    assert found.unread["clocks"] == "amd-smi lists 1 GPUs, the kernel 2"


def test_older_gpus_that_say_nothing_are_not_taken_for_cool_ones():
    assert slowed('[{"gpu": 0, "throttle": {"ppt_violation_status": "N/A"}}]') == [None]
    assert slowed('[{"gpu": 0, "throttle": "N/A"}]') == [None]


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(["gpu", "gpu_data", "throttle", "ppt_violation_status"]) | st.text(max_size=4),
                below,
                max_size=3,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value):
    try:
        found = slowed(json.dumps(value))
    except Unreadable:
        return
    assert found
    assert all(one is None or isinstance(one, tuple) for one in found)

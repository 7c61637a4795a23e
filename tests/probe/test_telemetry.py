"""Readings of a host: from files in the kernel's formats, with what is missing as None and never as 0."""

import ctypes
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.memorykills import host_oom_kills
from madrun.probe.telemetry import Wanted, open_sources
from madrun.probe.telemetry.amd import amd_gpus, current_level, uncorrected
from madrun.probe.telemetry.cgroup import Cgroup, own_cgroup
from madrun.probe.telemetry.counters import Kept, Rate, whole
from madrun.probe.telemetry.host import Disks, HostCpu, HostMemory
from madrun.probe.telemetry.network import Network, Rdma, interesting
from madrun.probe.telemetry.nvidia import nvidia_gpus
from madrun.probe.telemetry.processes import Processes, family


def values(source, at):
    return dict(zip(source.columns, source.read(at), strict=True))


def test_a_rate_is_growth_per_second_and_unknown_at_first_after_a_gap_and_after_a_reset():
    rate = Rate()
    readings = [(100.0, 1.0), (300.0, 2.0), (50.0, 3.0), (80.0, 4.0), (None, 5.0), (90.0, 6.0), (91.0, 6.0)]
    assert [rate.of(value, at) for value, at in readings] == [None, 200.0, None, 30.0, None, None, None]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e18)), max_size=20))
def test_no_rate_is_ever_negative(readings):
    rate = Rate()
    assert all(value is None or value >= 0 for value in (rate.of(one, at) for at, one in enumerate(readings, 1)))


@given(st.text(max_size=20))
def test_only_a_whole_number_is_read_as_one(text):
    value = whole(text)
    assert value is None or value == int(text)


def test_the_hosts_cpu_is_busy_time_of_all_time_and_waiting_for_disks_is_idle(host):
    host.write("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\nintr 1\n")
    cpu = HostCpu(host.root)
    assert cpu.read(1.0) == (None,)
    host.write("proc/stat", "cpu  125 0 125 1600 50 0 0 0 0 0\nintr 1\n")
    assert cpu.read(2.0)[0] == pytest.approx(100 * 50 / 900)


def test_the_hosts_memory_is_what_is_not_available(host):
    host.write("proc/meminfo", "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  400 kB\n")
    assert HostMemory(host.root).read(1.0) == (600 * 1024, 400 * 1024)


def test_what_is_not_there_is_none_for_every_source(host):
    assert HostCpu(host.root).read(1.0) == (None,)
    assert HostMemory(host.root).read(1.0) == (None, None)
    assert Network(("eth0",), host.root).read(1.0) == (None, None)
    assert host_oom_kills(host.root) is None
    assert open_sources(Wanted(vendor="amd", pid=1, gpus=(0, 1)), host.root)  # and none of them raises


def test_bytes_of_partitions_and_of_disks_without_a_device_are_not_counted_twice(host):
    for name in ("sda/device/x", "dm-0/x"):
        host.write(f"sys/block/{name}")
    row = "   8 {minor} {name} 1 0 {read} 0 1 0 {written} 0 0 0 0\n"

    def grow(read, written):
        names = ("sda", "sda1", "dm-0")
        text = "".join(row.format(minor=i, name=n, read=read, written=written) for i, n in enumerate(names))
        host.write("proc/diskstats", text)

    grow(10, 20)
    disks = Disks(host.root)
    disks.read(1.0)
    grow(12, 30)
    assert disks.read(3.0) == (2 * 512 / 2, 10 * 512 / 2)


def test_interfaces_with_hardware_the_chosen_one_and_that_of_the_default_route_are_watched(host):
    for name in ("eth0/device/x", "bond0/x", "veth1/x", "lo/x", "docker0/x"):
        host.write(f"sys/class/net/{name}")
    host.write("proc/net/route", "Iface\tDestination\tGateway\nbond0\t00000000\t0100000A\ndocker0\t000011AC\t0\n")
    assert interesting(host.root, ("=lo", "")) == ("bond0", "eth0", "lo")


def test_an_interface_that_starts_anew_is_unknown_for_that_interval(host):
    line = "Inter-|\n face |\n  eth0: {rx} 0 0 0 0 0 0 0 {tx} 0 0 0 0 0 0 0\n"
    network = Network(("eth0",), host.root)
    host.write("proc/net/dev", line.format(rx=1000, tx=10))
    network = Network(("eth0",), host.root)
    network.read(1.0)
    host.write("proc/net/dev", line.format(rx=5, tx=30))
    assert network.read(2.0) == (None, 20.0)


def test_rdma_ports_count_words_of_four_bytes_and_a_full_counter_tells_nothing(host):
    folder = "sys/class/infiniband/mlx5_0/ports/1/counters"
    for name, value in (("port_rcv_data", 100), ("port_xmit_data", 0xFFFFFFFF - 1)):
        host.write(f"{folder}/{name}", f"{value}\n")
    rdma = Rdma(host.root)
    assert rdma.columns == ("rdma_mlx5_0_1_rx_bytes_per_s", "rdma_mlx5_0_1_tx_bytes_per_s")
    rdma.read(1.0)
    for name, value in (("port_rcv_data", 350), ("port_xmit_data", 0xFFFFFFFF)):
        host.write(f"{folder}/{name}", f"{value}\n")
    assert rdma.read(2.0) == (1000.0, None)


@pytest.fixture(params=[1, 2])
def cgroups(request, host):
    """A host with cgroups of this version: process 7 in one of its own, 8 in that of everybody."""
    home = "sys/fs/cgroup"
    if request.param == 1:
        for pid, path in ((7, "/docker/ab"), (8, "/")):
            host.write(f"proc/{pid}/cgroup", f"4:memory:{path}\n3:cpu,cpuacct:{path}\n2:blkio:{path}\n0::{path}\n")
        names = {
            "cpu": f"{home}/cpuacct/docker/ab/cpuacct.usage",
            "memory": f"{home}/memory/docker/ab/memory.usage_in_bytes",
            "stat": f"{home}/memory/docker/ab/memory.stat",
            "io": f"{home}/blkio/docker/ab/blkio.throttle.io_service_bytes_recursive",
        }
        cpu, io, stat = (
            "{}000000000",
            "8:0 Read {}\n8:0 Write 0\n8:0 Total 9\nTotal 9",
            "inactive_file 1\ntotal_inactive_file 30",
        )
    else:
        for pid, path in ((7, "/docker/ab"), (8, "/user")):
            host.write(f"proc/{pid}/cgroup", f"0::{path}\n")
        host.write(f"{home}/cgroup.controllers")
        place = f"{home}/docker/ab"
        files = {"cpu": "cpu.stat", "memory": "memory.current", "stat": "memory.stat", "io": "io.stat"}
        names = {name: f"{place}/{file}" for name, file in files.items()}
        cpu, io, stat = "usage_usec {}000000\nuser_usec 1", "8:0 rbytes={} wbytes=0 rios=1", "inactive_file 30"

    def write(seconds, read):
        texts = {"cpu": cpu.format(seconds), "memory": "100", "stat": stat, "io": io.format(read)}
        for name, text in texts.items():
            host.write(names[name], f"{text}\n")

    return write


def test_a_container_is_read_by_its_own_cgroup(cgroups, host):
    cgroups(10, 1000)
    place = own_cgroup(7, 8, host.root)
    source = Cgroup(place)
    source.read(1.0)
    cgroups(12, 5000)
    read = values(source, 2.0)
    assert read["run_cpu_pct"] == 200
    assert read["run_memory_bytes"] == 70
    assert (read["run_disk_read_bytes_per_s"], read["run_disk_write_bytes_per_s"]) == (4000, 0)


def test_a_cgroup_that_is_shared_with_madrun_itself_is_not_taken_for_the_runs(cgroups, host):
    cgroups(10, 1000)
    assert own_cgroup(7, 7, host.root) is None
    assert own_cgroup(9, 8, host.root) is None


def test_processes_are_summed_over_all_descendants_and_the_time_of_ended_children_counts(host):
    def stat(pid, parent, own, children, pages):
        words = ["S", str(parent)] + ["0"] * 9 + [str(own), "0", str(children), "0"] + ["0"] * 6 + [str(pages)]
        host.write(f"proc/{pid}/stat", f"{pid} (a ) b) {' '.join(words)}\n")

    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    stat(7, 1, 0, 0, 3)
    stat(8, 7, tick, 0, 4)
    stat(9, 1, 50 * tick, 0, 5)
    source = Processes(7, host.root)
    assert source.read(1.0) == (None, 7 * page)
    (host.root / "proc/8/stat").unlink()
    stat(7, 1, 0, 2 * tick, 3)
    assert source.read(100.0) == (pytest.approx(100 / 99), 3 * page)


def test_a_circle_of_parents_ends_the_search():
    assert set(family(1, {1: ["S", "2"], 2: ["S", "1"], 3: ["S", "9"]})) == {1, 2}


AMD_FILES = {
    "gpu_busy_percent": "93",
    "mem_busy_percent": "12",
    "mem_info_vram_used": "1000",
    "hwmon/hwmon4/power1_average": "550000000",
    "hwmon/hwmon4/temp1_input": "40000",
    "hwmon/hwmon4/temp2_label": "junction",
    "hwmon/hwmon4/temp2_input": "71000",
    "hwmon/hwmon4/freq1_input": "2100000000",
    "ras/umc_err_count": "ue: 2\nce: 5",
}


def test_an_amd_gpu_is_read_from_sysfs(host):
    host.cpu_node(0)
    host.gpu_node(1)
    host.pci("0000:01:00.0", **AMD_FILES)
    (gpu,) = amd_gpus((0, 1), host.root)
    assert values(gpu, 1.0) == {
        "gpu0_util_pct": 93,
        "gpu0_memory_activity_pct": 12,
        "gpu0_memory_used_bytes": 1000,
        "gpu0_power_w": 550,
        "gpu0_temperature_c": 71,
        "gpu0_clock_mhz": 2100,
        "gpu0_ecc_uncorrected": 2,
    }


def test_an_amd_gpu_that_tells_little_is_none_for_the_rest(host):
    host.gpu_node(1)
    host.pci("0000:01:00.0", gpu_busy_percent="0", pp_dpm_sclk="0: 500Mhz\n1: 1700Mhz *")
    (gpu,) = amd_gpus((0,), host.root)
    assert gpu.read(1.0) == (0, None, None, None, None, 1700, None)


@given(st.text(max_size=60))
def test_any_text_of_sysfs_is_a_number_or_none(text):
    assert current_level(text) is None or current_level(text) >= 0
    assert uncorrected(text) is None or isinstance(uncorrected(text), float)


class FakeNvml:
    """The calls of libnvidia-ml, with its signatures: each fills in what it is given, and returns 0."""

    def __init__(self, **answers):
        self.answers = answers

    def nvmlInit_v2(self):
        return self.answers.get("init", 0)

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        return 0 if index.value in (0, 2) else 6

    def __getattr__(self, name):
        if name not in self.answers:
            raise AttributeError(name)

        def call(_handle, *words):
            answer, into = self.answers[name], words[-1]._obj
            if answer is None:
                return 3  # NVML_ERROR_NOT_SUPPORTED
            for field, value in answer.items():
                setattr(into, field, value)
            return 0

        return call


def test_an_nvidia_gpu_is_read_by_nvml_and_what_it_does_not_support_is_none():
    library = FakeNvml(
        nvmlDeviceGetUtilizationRates={"gpu": 100, "memory": 0},
        nvmlDeviceGetMemoryInfo={"used": 5000},
        nvmlDeviceGetPowerUsage={"value": 650500},
        nvmlDeviceGetTemperature={"value": 61},
        nvmlDeviceGetClockInfo={"value": 1980},
        nvmlDeviceGetCurrentClocksThrottleReasons={"value": 0x4 | 0x1},
        nvmlDeviceGetTotalEccErrors=None,
    )
    gpus = nvidia_gpus((0, 1, 2), lambda: library)
    assert [gpu.columns[0] for gpu in gpus] == ["gpu0_util_pct", "gpu2_util_pct"]
    assert values(gpus[0], 1.0) == {
        "gpu0_util_pct": 100,
        "gpu0_memory_activity_pct": 0,
        "gpu0_memory_used_bytes": 5000,
        "gpu0_power_w": 650.5,
        "gpu0_temperature_c": 61,
        "gpu0_clock_mhz": 1980,
        "gpu0_power_capped": 1,
        "gpu0_thermally_throttled": 0,
        "gpu0_ecc_uncorrected": None,
    }


def test_without_nvml_or_where_it_does_not_answer_there_are_no_columns():
    assert nvidia_gpus((0,), lambda: None) == []
    assert nvidia_gpus((0,), lambda: FakeNvml(init=9)) == []
    old = FakeNvml(nvmlDeviceGetPowerUsage=None)  # a driver that lacks most calls
    assert set(nvidia_gpus((0,), lambda: old)[0].read(1.0)) == {None}


def test_the_structures_of_nvml_have_the_sizes_of_its_header():
    from madrun.probe.telemetry import nvidia

    assert ctypes.sizeof(nvidia._Utilization) == 8
    assert ctypes.sizeof(nvidia._Memory) == 24


def test_this_host_itself_gives_the_columns_that_every_host_has():
    sources = open_sources(Wanted(vendor="cpu", pid=os.getpid()))
    try:
        columns = {name for source in sources for name in source.columns}
        assert {"host_cpu_pct", "host_memory_used_bytes", "run_cpu_pct", "run_memory_bytes"} <= columns
        assert len(columns) == sum(len(source.columns) for source in sources)
        for source in sources:
            assert len(source.read(1.0)) == len(source.columns)
    finally:
        for source in sources:
            source.close()


def test_a_file_that_was_given_back_is_read_as_nothing(host):
    host.write("proc/x", "5\n")
    kept = Kept(host.root / "proc/x")
    assert kept.number() == 5
    kept.close()
    kept.close()
    assert kept.number() is None


def test_a_maker_that_fails_leaves_out_its_columns_alone(host, monkeypatch):
    monkeypatch.setattr("madrun.probe.telemetry.host.Disks", lambda _root: {}["x"])
    host.write("proc/stat", "cpu 1 1 1 1 1\n")
    assert "host_cpu_pct" in {
        name for source in open_sources(Wanted(vendor="cpu"), host.root) for name in source.columns
    }

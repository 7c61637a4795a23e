"""NVIDIA GPUs by /proc/driver/nvidia, and NVML or nvidia-smi for what the kernel driver does not publish."""

import os
from types import SimpleNamespace

import pytest
from host_tree import HostTree
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.accelerator import find_accelerator
from madrun.spec.facts import Partition

CLOSED_VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
# In the form of the recorded queries, for the two GPUs that `HostTree.nvidia` builds.
QUERY = """\
index, uuid, name, memory.total [MiB], driver_version, compute_cap, mig.mode.current, pci.bus_id
0, GPU-0, NVIDIA H200, 143771 MiB, 570.124.06, 9.0, Disabled, 00000000:01:00.0
1, GPU-1, NVIDIA H200, 143771 MiB, 570.124.06, 9.0, Disabled, 00000000:02:00.0
"""
TABLE = "| NVIDIA-SMI 570.124.06   Driver Version: 570.124.06   CUDA Version: 12.8 |\n"
ANSWERS = {"nvidia-smi --query-gpu": QUERY, "nvidia-smi -L": "", "nvidia-smi": TABLE}
UNKNOWN = "compute capability, memory and the highest CUDA version are not known"


def test_gpus_are_counted_by_pci_address_and_named(host):
    host.nvidia("NVIDIA H200", "NVIDIA H100 80GB HBM3")
    found = host.find()[0]
    assert (found.vendor, found.count, found.driver) == ("nvidia", 2, "570.124.06")
    assert [(gpu.index, gpu.model, gpu.bus) for gpu in found.gpus] == [
        (0, "NVIDIA H200", "0000:01:00.0"),
        (1, "NVIDIA H100 80GB HBM3", "0000:02:00.0"),
    ]


def test_the_device_file_is_that_of_the_minor_number_not_of_the_index(host):
    host.nvidia("NVIDIA H200", "NVIDIA H200")
    assert [gpu.device for gpu in host.find()[0].gpus] == ["/dev/nvidia1", "/dev/nvidia0"]


def test_control_devices_are_those_that_are_there(host):
    host.nvidia("NVIDIA H200")
    assert host.find()[0].control == ("/dev/nvidiactl", "/dev/nvidia-uvm")
    (host.root / "dev/nvidia-uvm").unlink()
    assert host.find()[0].control == ("/dev/nvidiactl",)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to a group it is not in")
def test_groups_are_those_of_the_device_files_where_they_are_not_open_to_all(host):
    host.nvidia("NVIDIA H200")
    assert host.find()[0].groups == ()
    os.chown(host.root / "dev/nvidia0", 0, 44)
    assert host.find()[0].groups == ("44",)


def test_a_recorded_information_file_is_read(host, recorded):
    host.write("proc/driver/nvidia/gpus/0000:70:00.0/information", recorded("nvidia-proc/l4-information.txt"))
    host.write("dev/nvidia0")
    gpu = host.find()[0].gpus[0]
    assert (gpu.model, gpu.bus, gpu.device) == ("NVIDIA L4", "0000:70:00.0", "/dev/nvidia0")
    assert gpu.uuid == "GPU-3291dfa4-fcc4-0110-615b-c894a0d7c689"


def test_the_closed_driver_has_a_version_too(host):
    host.nvidia("NVIDIA A100-SXM4-80GB", version=CLOSED_VERSION)
    assert host.find()[0].driver == "535.183.01"


def test_a_driver_without_a_version_file_is_no_obstacle(host):
    host.nvidia("NVIDIA H200")
    (host.root / "proc/driver/nvidia/version").unlink()
    found = host.find()[0]
    assert (found.count, found.driver) == (1, "")


def test_an_id_that_the_driver_has_not_read_yet_is_empty(host):
    host.nvidia("NVIDIA H200", uuid="GPU-????????-????-????-????-????????????")
    assert host.find()[0].gpus[0].uuid == ""


def test_an_excluded_gpu_is_left_out_and_named(host):
    host.nvidia("NVIDIA H200", "NVIDIA H200", excluded=(0,))
    found = host.find()[0]
    assert [(gpu.index, gpu.bus) for gpu in found.gpus] == [(0, "0000:02:00.0")]
    assert found.notes[0] == "the GPU at 0000:01:00.0 is left out: the driver was told to exclude it"


def test_nvidia_smi_adds_what_the_driver_does_not_publish(host):
    host.nvidia("NVIDIA H200", "NVIDIA H200")
    host.pci("0000:02:00.0", numa_node=1)
    found, started = host.find(ANSWERS)
    assert (found.arch, found.model, found.stack, found.notes) == ("sm_90", "NVIDIA H200", "12.8", ())
    assert [(gpu.uuid, gpu.memory, gpu.numa) for gpu in found.gpus] == [
        ("GPU-0", 143771 << 20, None),
        ("GPU-1", 143771 << 20, 1),
    ]
    assert len(started) == 2, "the names of MIG devices are asked for where there are some"


def test_without_nvml_and_nvidia_smi_a_note_says_what_is_missing(host):
    host.nvidia("NVIDIA H200")
    found = host.find()[0]
    assert (found.arch, found.stack, found.gpus[0].memory) == ("", "", 0)
    assert found.notes[0].startswith(UNKNOWN)


def test_an_nvidia_smi_that_prints_something_else_counts_as_none(host):
    host.nvidia("NVIDIA H200")
    failed = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    assert host.find({"nvidia-smi": failed})[0].notes[0].startswith(UNKNOWN)


def test_gpus_that_only_nvidia_smi_knows_are_found_where_the_driver_is(host):
    host.write("dev/nvidiactl")
    found = host.find(ANSWERS)[0]
    assert (found.count, found.driver, found.control) == (2, "570.124.06", ("/dev/nvidiactl",))


def test_a_driver_without_gpus_is_a_cpu(host):
    host.write("dev/nvidiactl")
    assert host.find()[0].vendor == "cpu"


def test_contradictions_between_proc_and_nvidia_smi_are_noted(host):
    host.nvidia("NVIDIA H100", "NVIDIA H200")
    swapped = QUERY.replace("0, GPU-0", "7, GPU-0")
    found = host.find({**ANSWERS, "nvidia-smi --query-gpu": swapped})[0]
    assert [(gpu.index, gpu.model) for gpu in found.gpus] == [(7, "NVIDIA H100"), (1, "NVIDIA H200")]
    assert found.notes == (
        "GPU 7 (0000:01:00.0): by PCI address it is 0, the driver's library counts it as 7",
        "GPU 7 (0000:01:00.0): /proc says NVIDIA H100, the driver's library says NVIDIA H200",
    )


def _listed(*rows, mig="Disabled"):
    """A query's answer for (index, number of the GPU in /proc)."""
    lines = [
        f"{index}, GPU-{place}, NVIDIA H200, 143771 MiB, 570.1, 9.0, {mig}, 00000000:{place + 1:02x}:00.0\n"
        for index, place in rows
    ]
    return {"nvidia-smi --query-gpu": QUERY.splitlines()[0] + "\n" + "".join(lines), "nvidia-smi": TABLE}


def test_gpus_that_a_scheduler_hides_are_left_out_and_those_left_have_the_index_of_the_tools(host):
    host.nvidia(*["NVIDIA H200"] * 4)
    found = host.find(_listed((0, 2)))[0]
    assert [(gpu.index, gpu.uuid, gpu.device) for gpu in found.gpus] == [(0, "GPU-2", "/dev/nvidia1")]
    assert found.hidden == 3
    assert [note.partition(" is left out")[0] for note in found.notes] == [
        "the GPU at 0000:01:00.0",
        "the GPU at 0000:02:00.0",
        "the GPU at 0000:04:00.0",
    ]


def test_an_nvidia_smi_that_does_not_know_the_query_still_lists_the_gpus(host):
    host.nvidia(*["NVIDIA H200"] * 4)
    found = host.find(
        {"nvidia-smi -L": "GPU 0: NVIDIA H200 (UUID: GPU-2)\n", "nvidia-smi --query": None, "nvidia-smi": TABLE}
    )[0]
    assert [(gpu.index, gpu.bus, gpu.device) for gpu in found.gpus] == [(0, "0000:03:00.0", "/dev/nvidia1")]
    assert (found.hidden, found.stack) == (3, "12.8")


def test_a_lost_gpu_takes_no_index_of_the_others(host):
    host.nvidia(*["NVIDIA H200"] * 4)
    found = host.find(_listed((0, 1), (1, 2), (2, 3)))[0]
    assert [(gpu.index, gpu.uuid) for gpu in found.gpus] == [(0, "GPU-1"), (1, "GPU-2"), (2, "GPU-3")]
    assert found.hidden == 1


@given(st.integers(1, 8).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, 9)))))
def test_whatever_the_library_lists_indices_are_its_own_and_unique(tmp_path_factory, case):
    count, places = case
    host = HostTree(tmp_path_factory.mktemp("host"))
    host.nvidia(*["NVIDIA H200"] * count)
    found = host.find(_listed(*enumerate(sorted(places))))[0]
    if not places:  # a header without rows is no answer
        assert [gpu.index for gpu in found.gpus] == list(range(count))
        return
    assert [(gpu.index, gpu.uuid) for gpu in found.gpus] == [(i, f"GPU-{at}") for i, at in enumerate(sorted(places))]
    assert found.hidden == len(set(range(count)) - places)


@pytest.mark.parametrize("by", ["nvml", "nvidia-smi"])
def test_a_process_that_may_use_no_gpu_has_none_and_knows_how_many_there_are(host, by):
    host.nvidia("NVIDIA H200", "NVIDIA H200")
    none = _binding()
    none.nvmlDeviceGetCount = lambda: 0
    found = host.find(binding=none)[0] if by == "nvml" else host.find({"nvidia-smi": "No devices were found\n"})[0]
    assert (found.vendor, found.count, found.hidden) == ("cpu", 0, 2)


def test_a_gpu_that_nvml_has_lost_is_left_out(host):
    host.nvidia("NVIDIA H200", "NVIDIA H200")
    binding = _binding()
    whole = binding.nvmlDeviceGetHandleByIndex

    def handle(index):
        if index == 1:
            raise _NvmlError("GPU is lost")
        return whole(index)

    binding.nvmlDeviceGetCount, binding.nvmlDeviceGetHandleByIndex = lambda: 2, handle
    found = host.find(binding=binding)[0]
    assert ([gpu.uuid for gpu in found.gpus], found.hidden) == (["GPU-0"], 1)


def test_device_files_that_nvidia_smi_makes_are_seen(host):
    host.nvidia("NVIDIA H200", "NVIDIA H200")
    files = list((host.root / "dev").iterdir())
    for file in files:
        file.unlink()

    def run(argv):
        for file in files:
            file.touch()
        return QUERY if "--query" in " ".join(argv) else TABLE

    found = find_accelerator(host.root, run, lambda: None)
    assert [gpu.device for gpu in found.gpus] == ["/dev/nvidia1", "/dev/nvidia0"]
    assert (found.control, found.notes) == (("/dev/nvidiactl", "/dev/nvidia-uvm"), ())


def test_a_missing_device_file_is_named(host):
    host.nvidia("NVIDIA H200")
    (host.root / "dev/nvidia0").unlink()
    found = host.find(ANSWERS)[0]
    assert found.gpus[0].device == ""
    assert found.notes == ("GPU 0 (0000:01:00.0): its device file /dev/nvidia0 is not there",)


def test_a_gpu_that_only_nvml_knows_has_the_device_file_of_its_minor_number(host):
    host.write("dev/nvidiactl")
    host.write("dev/nvidia3")
    assert host.find(binding=_binding(minor=3))[0].gpus[0].device == "/dev/nvidia3"


def test_mig_without_an_instance_is_known(host):
    host.nvidia("NVIDIA H200")
    found, started = host.find(_listed((0, 0), mig="Enabled"))
    assert (found.gpus[0].mig, found.gpus[0].partitions) == (True, ())
    assert ("nvidia-smi", "-L") in started, "instances are asked for wherever MIG is on"
    assert host.find(binding=_binding(mode=1))[0].gpus[0].mig
    assert not host.find(binding=_binding())[0].gpus[0].mig


def test_mig_devices_are_named_with_their_ids(host, recorded):
    host.nvidia("NVIDIA A100-SXM4-80GB")
    for instance in range(7, 14):
        host.mig(0, instance)
    query = (
        "index, uuid, name, pci.bus_id\n"
        "0, GPU-7fdaf0a5-179b-f636-d15d-daf243e3ff16, NVIDIA A100-SXM4-80GB, 00000000:01:00.0\n"
    )
    listed = recorded("nvidia-smi/535.216.01-list-mig.txt")
    found, started = host.find({"nvidia-smi --query-gpu": query, "nvidia-smi -L": listed, "nvidia-smi": TABLE})
    assert len(found.gpus[0].partitions) == 7
    assert found.gpus[0].partitions[0] == Partition(name="1g.10gb", uuid="MIG-feb88891-0321-5fef-9c87-d4af3b54259e")
    assert ("nvidia-smi", "-L") in started


class _NvmlError(Exception):
    pass


def _binding(init=lambda: None, mig=(), mode=0, minor=0):
    """The calls of pynvml that are made, with the values that its documentation describes."""

    def mig_device(handle, index):
        if index >= len(mig):
            raise _NvmlError("Not Found")
        return f"mig{index}"

    def mig_count(handle):
        if not mig:
            raise _NvmlError("Not Supported")
        return 7

    return SimpleNamespace(
        NVMLError=_NvmlError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlSystemGetCudaDriverVersion_v2=lambda: 12080,
        nvmlSystemGetDriverVersion=lambda: "570.124.06",
        nvmlDeviceGetHandleByIndex=lambda index: "gpu",
        nvmlDeviceGetCudaComputeCapability=lambda handle: (9, 0),
        nvmlDeviceGetName=lambda handle: (
            "NVIDIA H200" if handle == "gpu" else f"NVIDIA H200 MIG {mig[int(handle[3:])]}"
        ),
        nvmlDeviceGetUUID=lambda handle: b"GPU-0" if handle == "gpu" else f"MIG-{handle}",
        nvmlDeviceGetPciInfo=lambda handle: SimpleNamespace(busId="00000000:01:00.0"),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=150754820096),
        nvmlDeviceGetMinorNumber=lambda handle: minor,
        nvmlDeviceGetMigMode=lambda handle: (mode, mode),
        nvmlDeviceGetMaxMigDeviceCount=mig_count,
        nvmlDeviceGetMigDeviceHandleByIndex=mig_device,
    )


def test_nvml_answers_without_any_process(host):
    host.nvidia("NVIDIA H200")
    found, started = host.find(binding=_binding())
    assert (found.arch, found.stack, found.gpus[0].memory, found.notes) == ("sm_90", "12.8", 150754820096, ())
    assert started == []


def test_nvml_names_mig_devices(host):
    host.nvidia("NVIDIA H200")
    found = host.find(binding=_binding(mig=("1g.18gb", "1g.18gb+me")))[0]
    assert found.gpus[0].partitions == (
        Partition(name="1g.18gb", uuid="MIG-mig0"),
        Partition(name="1g.18gb+me", uuid="MIG-mig1"),
    )


def test_nvidia_smi_is_asked_where_nvml_does_not_answer(host):
    def init():
        raise _NvmlError("Driver/library version mismatch")

    host.nvidia("NVIDIA H200", "NVIDIA H200")
    found, started = host.find(ANSWERS, binding=_binding(init))
    assert (found.arch, len(started)) == ("sm_90", 2)


@pytest.mark.parametrize("call", ["nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetCudaComputeCapability"])
def test_a_binding_that_lacks_a_call_does_not_answer(host, call):
    host.nvidia("NVIDIA H200", "NVIDIA H200")
    old = _binding()
    delattr(old, call)
    found, started = host.find(ANSWERS, binding=old)
    assert (found.arch, found.stack, found.count, len(started)) == ("sm_90", "12.8", 2, 2)

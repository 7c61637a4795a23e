"""NVIDIA GPUs by /proc/driver/nvidia, and NVML or nvidia-smi for what the kernel driver does not publish."""

import os
from types import SimpleNamespace

import pytest

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
    host.nvidia("NVIDIA H100", "NVIDIA H200", "NVIDIA H200")
    swapped = QUERY.replace("0, GPU-0", "7, GPU-0")
    notes = host.find({**ANSWERS, "nvidia-smi --query-gpu": swapped})[0].notes
    assert notes == (
        "/proc/driver/nvidia has 3 GPUs, the driver's library has 2",
        "GPU 0 (0000:01:00.0): the driver's library counts it as 7",
        "GPU 0 (0000:01:00.0): /proc says NVIDIA H100, the driver's library says NVIDIA H200",
        "GPU 2 (0000:03:00.0) is not among those of the driver's library",
    )


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


def _binding(init=lambda: None, mig=()):
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

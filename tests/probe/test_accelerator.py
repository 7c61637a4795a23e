"""Accelerators by what the kernel drivers publish, against trees in the documented format."""

import os

import pytest

from madrun.probe.accelerator import find_accelerator
from madrun.spec.facts import Accelerator

NVIDIA_VERSION = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (dvs-builder@U16)  Wed Feb 26
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
CLOSED_VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"


def nvidia(root, *models, version=NVIDIA_VERSION):
    folder = root / "proc/driver/nvidia"
    for index, model in enumerate(models):
        gpu = folder / "gpus" / f"0000:{index:02x}:00.0"
        gpu.mkdir(parents=True)
        (gpu / "information").write_text(
            f"Model: \t\t {model}\nIRQ:   \t\t 123\nGPU UUID: \t GPU-1\nBus Type: \t PCIe\nGPU Excluded:\t No\n"
        )
    (folder / "version").write_text(version)


def kfd(root, node, **properties):
    folder = root / "sys/class/kfd/kfd/topology/nodes" / str(node)
    folder.mkdir(parents=True)
    (folder / "properties").write_text("".join(f"{name} {value}\n" for name, value in properties.items()))


def cpu_node(root, node):
    kfd(root, node, cpu_cores_count=96, simd_count=0, gfx_target_version=0)


def gpu_node(root, node, version=90402, minor=128):
    kfd(root, node, cpu_cores_count=0, simd_count=1216, gfx_target_version=version, drm_render_minor=minor)
    device = root / "dev/dri" / f"renderD{minor}"
    device.parent.mkdir(parents=True, exist_ok=True)
    device.touch()


def test_a_host_without_accelerators_is_a_cpu(tmp_path):
    assert find_accelerator(tmp_path) == Accelerator(vendor="cpu")


def test_nvidia_gpus_are_counted_and_named(tmp_path):
    nvidia(tmp_path, "NVIDIA H200", "NVIDIA H200")
    found = find_accelerator(tmp_path)
    assert (found.vendor, found.count) == ("nvidia", 2)
    assert found.models == ("NVIDIA H200", "NVIDIA H200")
    assert (found.arch, found.driver) == ("NVIDIA H200", "570.124.06")


def test_the_closed_nvidia_driver_has_a_version_too(tmp_path):
    nvidia(tmp_path, "NVIDIA A100-SXM4-80GB", version=CLOSED_VERSION)
    assert find_accelerator(tmp_path).driver == "535.183.01"


def test_an_nvidia_driver_without_a_version_file_is_no_obstacle(tmp_path):
    nvidia(tmp_path, "NVIDIA H200")
    (tmp_path / "proc/driver/nvidia/version").unlink()
    assert (find_accelerator(tmp_path).count, find_accelerator(tmp_path).driver) == (1, "")


def test_amd_gpus_are_counted_without_the_cpu_nodes(tmp_path):
    cpu_node(tmp_path, 0)
    cpu_node(tmp_path, 1)
    gpu_node(tmp_path, 2, minor=128)
    gpu_node(tmp_path, 10, minor=136)
    (tmp_path / "sys/module/amdgpu").mkdir(parents=True)
    (tmp_path / "sys/module/amdgpu/version").write_text("6.10.5\n")
    found = find_accelerator(tmp_path)
    assert (found.vendor, found.count, found.arch, found.driver) == ("amd", 2, "gfx942", "6.10.5")
    assert found.devices == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD136")


def test_amd_gpus_are_in_the_order_of_their_nodes_not_of_their_names(tmp_path):
    gpu_node(tmp_path, 10, minor=136)
    gpu_node(tmp_path, 9, minor=135)
    assert find_accelerator(tmp_path).devices[1:] == ("/dev/dri/renderD135", "/dev/dri/renderD136")


def test_the_architecture_is_spelled_as_amd_spells_it(tmp_path):
    for node, version in enumerate((90402, 90010, 90500, 110001, 120001)):
        gpu_node(tmp_path, node, version, 128 + node)
    assert find_accelerator(tmp_path).models == ("gfx942", "gfx90a", "gfx950", "gfx1101", "gfx1201")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to a group it is not in")
def test_groups_of_the_amd_devices_are_numeric_and_leave_out_root(tmp_path):
    gpu_node(tmp_path, 1, minor=128)
    gpu_node(tmp_path, 2, minor=129)
    (tmp_path / "dev/kfd").touch()
    for name, gid in (("kfd", 0), ("dri/renderD128", 109), ("dri/renderD129", 44)):
        os.chown(tmp_path / "dev" / name, 0, gid)
    assert find_accelerator(tmp_path).groups == ("44", "109")


def test_a_host_with_kfd_but_no_amd_gpu_is_a_cpu(tmp_path):
    cpu_node(tmp_path, 0)
    assert find_accelerator(tmp_path).vendor == "cpu"


def test_nvidia_comes_before_amd(tmp_path):
    nvidia(tmp_path, "NVIDIA H200")
    gpu_node(tmp_path, 1)
    assert find_accelerator(tmp_path).vendor == "nvidia"

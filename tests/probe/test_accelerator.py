"""Which accelerators a host has, whatever their vendor."""

import os
import time

import pytest

from madrun.probe.accelerator import find_accelerator, tools
from madrun.probe.accelerator.tools import run_tool
from madrun.spec.facts import Accelerator


def test_a_host_without_accelerators_is_a_cpu_and_no_tool_is_started(host):
    assert host.find() == (Accelerator(vendor="cpu"), [])


def test_a_host_with_kfd_but_no_amd_gpu_is_a_cpu(host):
    host.cpu_node(0)
    assert host.find() == (Accelerator(), [])


def test_a_host_without_accelerators_costs_less_than_a_millisecond(tmp_path):
    find_accelerator(tmp_path)
    costs = []
    for _ in range(20):
        begin = time.perf_counter()
        find_accelerator(tmp_path)
        costs.append(time.perf_counter() - begin)
    assert min(costs) < 1e-3


def test_nvidia_comes_before_amd_and_the_amd_gpus_are_named_as_left_out(host):
    host.nvidia("NVIDIA H200")
    host.gpu_node(1, device_id=1)
    found, started = host.find()
    assert found.vendor == "nvidia"
    assert "1 AMD GPUs are left out" in found.notes[-1]
    assert not [argv for argv in started if argv[0] != "nvidia-smi"]


def test_a_tool_gives_its_output_in_the_c_locale_with_rocm_on_the_path(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("ROCM_PATH", "/opt/rocm-6.4.0")
    assert run_tool(("sh", "-c", "echo $LC_ALL; cat")) == "C\n"
    assert run_tool(("sh", "-c", "echo $PATH")).strip().endswith(os.pathsep + "/opt/rocm-6.4.0/bin")


def test_a_tool_of_rocm_is_found_where_it_is_on_no_path(tmp_path, monkeypatch):
    tool = tmp_path / "bin/amd-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho here\n")
    tool.chmod(0o755)
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    assert run_tool(("amd-smi",)) == "here\n"


def test_a_tool_that_is_missing_or_fails_gives_nothing():
    assert run_tool(("no-such-tool-of-any-vendor",)) is None
    assert run_tool(("sh", "-c", "echo half; exit 9")) is None


def test_a_tool_that_hangs_is_given_up():
    begin = time.monotonic()
    assert run_tool(("sleep", "600"), limit=0.2) is None
    assert time.monotonic() - begin < 60


@pytest.mark.e2e
def test_nvidia_smi_has_more_time_than_the_others(tmp_path, monkeypatch):
    assert tools._LIMITS_S == {"nvidia-smi": 60}
    for name in ("nvidia-smi", "rocminfo"):
        (tmp_path / name).write_text("#!/bin/sh\nsleep 0.6; echo here\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(tools, "_LIMIT_S", 0.2)
    assert run_tool(("rocminfo",)) is None
    assert run_tool(("nvidia-smi",)) == "here\n"


def test_nvidia_smi_that_finds_no_gpu_has_answered():
    assert run_tool(("sh", "-c", "echo No devices were found; exit 6")) == "No devices were found\n"


def test_amd_gpus_are_taken_where_no_nvidia_gpu_may_be_used(host):
    host.nvidia("NVIDIA H200")
    host.gpu_node(1)
    assert host.find({"nvidia-smi": "No devices were found\n"})[0].vendor == "amd"


def test_output_that_is_not_text_is_no_obstacle():
    assert run_tool(("printf", r"\377ok")) == "\ufffdok"

"""Free memory as the kernel and the cgroups around a process state it."""

from __future__ import annotations

from pathlib import Path

import pytest

MEMINFO = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


@pytest.fixture
def capacity(load):
    return load("capacity")


def tree(tmp_path: Path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup with these contents."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text(groups)
    for name, text in files.items():
        (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroup / name).write_text(text)
    return proc, cgroup


def test_without_a_limit_it_is_what_the_kernel_calls_available(capacity, tmp_path):
    found = capacity.host_capacity(*tree(tmp_path, "0::/\n", {"memory.max": "max\n", "memory.current": "5\n"}))
    assert found == capacity.Capacity(8000000 * 1024, "MemAvailable of the host")


def test_the_tightest_group_above_the_process_counts_and_file_cache_is_free(capacity, tmp_path):
    files = {
        "a/memory.max": "4000\n",
        "a/memory.current": "3000\n",
        "a/memory.stat": "anon 1\ninactive_file 500\n",
        "a/b/memory.max": "9000\n",
        "a/b/memory.current": "100\n",
    }
    found = capacity.host_capacity(*tree(tmp_path, "0::/a/b\n", files))
    assert found.free == 4000 - 3000 + 500
    assert found.limit.startswith("memory.max 4000 of ")


def test_in_a_container_the_path_of_the_host_does_not_exist_and_the_root_counts(capacity, tmp_path):
    files = {"memory.max": "7000\n", "memory.current": "1000\n"}
    assert capacity.host_capacity(*tree(tmp_path, "0::/docker/0123abcd\n", files)).free == 6000


def test_the_first_version_of_cgroups_is_read_too(capacity, tmp_path):
    files = {
        "memory/x/memory.limit_in_bytes": "5000\n",
        "memory/x/memory.usage_in_bytes": "4500\n",
        "memory/x/memory.stat": "total_inactive_file 100\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "1\n",
    }
    assert capacity.host_capacity(*tree(tmp_path, "4:memory:/x\n3:cpu:/y\n", files)).free == 600


def test_a_group_that_is_over_its_limit_leaves_nothing(capacity, tmp_path):
    files = {"memory.max": "100\n", "memory.current": "200\n"}
    assert capacity.host_capacity(*tree(tmp_path, "0::/\n", files)).free == 0


def test_where_nothing_can_be_read_nothing_is_claimed(capacity, tmp_path):
    assert capacity.host_capacity(tmp_path / "no", tmp_path / "nor") is None

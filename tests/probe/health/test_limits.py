import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.health import limits
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import ControlGroup, Limit

# From a real machine: "Max cpu time" and others that are not read are left out.
TEXT = """\
Limit                     Soft Limit           Hard Limit           Units     
Max stack size            8388608              unlimited            bytes     
Max processes             96365                96365                processes 
Max open files            1024                 524288               files     
Max locked memory         8388608              8388608              bytes     
"""


def test_limits_of_this_process_are_read(host):
    host.write("proc/self/limits", TEXT)
    found = limits.limits(Source(host.root))
    assert found.stack == Limit(soft=8388608, hard=None)
    assert found.files == Limit(soft=1024, hard=524288)
    assert found.locked == Limit(soft=8388608, hard=8388608)


def test_limits_of_this_very_process_agree_with_its_own_system_call():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limits.limits(Source()).files == Limit(soft=soft, hard=hard)


def test_a_limit_that_is_not_listed_is_unreadable(host):
    host.write("proc/self/limits", TEXT.replace("Max open files", "Max doors     "))
    with pytest.raises(Unreadable, match="Max open files"):
        limits.limits(Source(host.root))


def test_shared_memory_is_that_of_this_host():
    found = limits.shared_memory(Source())
    assert found.total == os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize
    assert 0 <= found.free <= found.total


def test_the_tightest_limit_on_the_way_up_counts(host):
    host.write("proc/self/cgroup", "0::/user.slice/job\n")
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
    host.write("sys/fs/cgroup/user.slice/memory.max", f"{4 << 30}\n")
    host.write("sys/fs/cgroup/user.slice/job/memory.max", "max\n")
    host.write("sys/fs/cgroup/user.slice/job/pids.max", "500\n")
    host.write("sys/fs/cgroup/user.slice/job/cpu.max", "150000 100000\n")
    assert limits.control_group(Source(host.root)) == ControlGroup(memory=4 << 30, pids=500, cpus=1.5)


def test_version_1_has_a_folder_for_each_controller_and_a_number_for_no_limit(host):
    host.write("proc/self/cgroup", "9:name=systemd:/\n8:pids:/job\n4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n")
    host.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", f"{2 << 30}\n")
    host.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    host.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n")
    host.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    assert limits.control_group(Source(host.root)) == ControlGroup(memory=2 << 30)


@pytest.mark.slow
@given(st.text(max_size=80))
def test_any_text_of_limits_is_read_or_refused(text):
    class Given(Source):
        def bytes_of(self, path):
            return (TEXT + text).replace("1024  ", text[:6].ljust(6)).encode(errors="replace")

    try:
        found = limits.limits(Given())
    except Unreadable:
        return
    assert found.stack.soft is None or isinstance(found.stack.soft, int)

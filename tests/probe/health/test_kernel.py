import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.health import kernel
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import Governors, NumaBalancing

CPU = "sys/devices/system/cpu"


def test_release_memory_and_swap_of_this_machine_are_read():
    assert kernel.release(Source())[0].isdigit()
    found = kernel.memory(Source())
    assert 0 < found.available <= found.total
    assert 0 <= found.swap_free <= found.swap_total


def test_numa_balancing_is_read_with_the_number_of_nodes(host):
    host.write("proc/sys/kernel/numa_balancing", "1\n")
    host.write("sys/devices/system/node/online", "0-3,8\n")
    assert kernel.numa_balancing(Source(host.root)) == NumaBalancing(setting=1, nodes=5)


def test_governors_of_all_cpus_are_counted(host):
    for cpu, word in enumerate(("performance", "performance", "powersave")):
        host.write(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor", f"{word}\n")
        host.write(f"{CPU}/cpu{cpu}/cpufreq/scaling_driver", "amd-pstate-epp\n")
        host.write(f"{CPU}/cpu{cpu}/cpufreq/energy_performance_preference", "balance_performance\n")
    host.write(f"{CPU}/cpufreq/policy0")
    assert kernel.governors(Source(host.root)) == Governors(
        governors={"performance": 2, "powersave": 1}, driver="amd-pstate-epp", preferences=("balance_performance",)
    )


@pytest.mark.parametrize(
    ("flags", "words"), [("fpu hypervisor", "a virtual machine"), ("fpu", "the firmware may govern the clock")]
)
def test_a_host_without_cpufreq_says_where_to_look(host, flags, words):
    host.write(f"{CPU}/cpu0/topology/core_id", "0\n")
    host.write("proc/cpuinfo", f"flags\t\t: {flags}\n")
    with pytest.raises(Unreadable, match=words):
        kernel.governors(Source(host.root))


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 20)), min_size=1, max_size=5))
def test_a_list_of_the_kernel_is_counted(ranges):
    text = ",".join(f"{low}-{low + more}" if more else str(low) for low, more in ranges)
    assert kernel.count_of_list(text) == sum(more + 1 for _, more in ranges)

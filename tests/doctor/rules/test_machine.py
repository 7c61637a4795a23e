import pytest

from madrun.doctor.asked import Asked
from madrun.doctor.rules import machine
from madrun.spec.health import ClockState, Consumer, Governors, HostMemory, Load, NumaBalancing

ASKED = Asked()
PERFORMANCE, POWERSAVE = Governors(governors={"performance": 8}), Governors(governors={"powersave": 8})


@pytest.mark.parametrize(
    ("rule", "found", "state", "words"),
    [
        (machine.kernel, "6.8.0-45-generic", "PASS", "6.8.0"),
        (machine.kernel, "5.4.0-216-generic", "WARN", "known to hang"),
        (machine.kernel, "4.18.0-553.el8", "WARN", "4.18.0"),
        (machine.numa_balancing, NumaBalancing(setting=0, nodes=2), "PASS", "off"),
        (machine.numa_balancing, NumaBalancing(setting=1, nodes=2), "WARN", "on (2 NUMA nodes)"),
        (machine.numa_balancing, NumaBalancing(setting=1, nodes=1), "PASS", "of no effect"),
        (machine.governor, PERFORMANCE, "PASS", "performance on 8 CPUs"),
        (machine.governor, POWERSAVE, "WARN", "powersave on 8 CPUs"),
        (machine.governor, Governors(governors={"performance": 7, "schedutil": 1}), "WARN", "schedutil on 1 CPUs"),
        (
            machine.governor,
            Governors(governors={"powersave": 8}, driver="intel_pstate", preferences=("performance",)),
            "PASS",
            "told to prefer performance",
        ),
        (
            machine.governor,
            Governors(governors={"powersave": 8}, driver="intel_pstate", preferences=("balance_power", "performance")),
            "WARN",
            "balance_power",
        ),
        (machine.clock, ClockState(synchronised=True, largest_error=0.0015), "PASS", "kept by a time service"),
        (machine.clock, ClockState(synchronised=False, largest_error=16.0), "WARN", "no time service"),
        (machine.other_load, Load(cpus=128, busy=3.0), "PASS", "3 of 128 CPUs busy"),
    ],
)
def test_each_state_of_the_machine_is_judged(make_facts, rule, found, state, words):
    (finding,) = rule(found, make_facts(), ASKED)
    assert finding.state == state
    assert words in finding.text
    assert bool(finding.advice and finding.source) == (state == "WARN")


def test_other_load_names_who_it_is(make_facts):
    busy = Consumer(pid=7, owner="bob", command="make -j", cpus=30.0, container="0123456789ab")
    (found,) = machine.other_load(Load(cpus=64, busy=31.5, consumers=(busy,)), make_facts(), ASKED)
    assert found.state == "WARN"
    assert found.text == "32 of 64 CPUs busy: make -j (pid 7, bob, container 0123456789ab) 30.0 CPUs"


def test_little_memory_and_used_swap_are_two_findings(make_facts):
    low = HostMemory(total=100 << 30, available=20 << 30, swap_total=8 << 30, swap_free=2 << 30)
    memory, swap = machine.memory(low, make_facts(), ASKED)
    assert (memory.state, swap.state) == ("WARN", "WARN")
    assert swap.text.startswith("6 GiB of 8 GiB in use")
    fine = HostMemory(total=100 << 30, available=90 << 30, swap_total=0, swap_free=0)
    assert [one.state for one in machine.memory(fine, make_facts(), ASKED)] == ["PASS", "PASS"]

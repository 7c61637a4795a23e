from dataclasses import replace

import pytest

from madrun.doctor.asked import Asked
from madrun.doctor.rules.gpu import gpu_state
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.health import GpuProcess, GpuState, HostGpus

WELL = GpuState(
    label="GPU 0",
    bus="0000:01:00.0",
    memory_used=300 << 20,
    memory_total=80 << 30,
    power_limit=700.0,
    power_default=700.0,
    persistent=True,
    ecc=True,
    uncorrected=0,
    corrected=4,
    pending=False,
    unrepairable=False,
    slowed=(),
    processes=(),
)
TRAINING = GpuProcess(pid=7, name="python3", kind="C", memory=39 << 30, owner="bob", container="0123456789ab")
SCREEN = GpuProcess(pid=8, name="Xorg", kind="G", memory=4 << 20, owner="root")


@pytest.fixture
def judge(make_facts):
    def judged(*states, vendor="nvidia", asked=(), unread=None):
        gpus = tuple(Gpu(index=at, bus=state.bus) for at, state in enumerate(states))
        facts = make_facts(accelerator=Accelerator(vendor=vendor, gpus=gpus))
        found = gpu_state(HostGpus(gpus=states, unread=unread or {}), facts, Asked(gpus=asked))
        return {finding.name: finding for finding in found}

    return judged


def test_a_gpu_at_rest_passes_everything(judge):
    found = judge(WELL)
    assert {finding.state for finding in found.values()} == {"PASS"}
    assert found["GPU errors"].text == "no uncorrected memory errors, 4 corrected"


@pytest.mark.parametrize(
    ("name", "changes", "state", "words"),
    [
        ("GPU processes", {"processes": (TRAINING,)}, "FAIL", "GPU 0: pid 7 python3 of bob, 39 GiB, container 0123"),
        ("GPU processes", {"processes": (SCREEN,)}, "WARN", "Xorg of root"),
        ("GPU memory", {"memory_used": 2 << 30}, "WARN", "2 GiB of 80 GiB in use"),
        ("GPU errors", {"uncorrected": 2}, "FAIL", "2 uncorrected memory errors"),
        ("GPU errors", {"pending": True}, "FAIL", "waits for a reset"),
        ("GPU errors", {"unrepairable": True}, "FAIL", "has failed"),
        ("GPU errors", {"ecc": False, "uncorrected": None}, "WARN", "ECC is off"),
        ("GPU power cap", {"power_limit": 500.0}, "WARN", "500 W of 700 W"),
        ("GPU clocks", {"slowed": ("sw_power_cap",)}, "WARN", "sw_power_cap"),
        ("GPU clocks", {"slowed": ("hw_thermal_slowdown", "sw_power_cap")}, "FAIL", "hw_thermal_slowdown"),
        ("GPU persistence", {"persistent": False}, "WARN", "off"),
        ("GPU fabric", {"fabric": "In Progress"}, "FAIL", "In Progress"),
    ],
)
def test_each_trouble_of_a_gpu_is_told_and_only_it(judge, name, changes, state, words):
    found = judge(replace(WELL, **changes))
    assert found[name].state == state
    assert words in found[name].text
    assert found[name].advice
    assert found[name].source
    assert {finding.state for other, finding in found.items() if other != name} == {"PASS"}


UNKNOWN = [
    ("GPU processes", {"processes": None}),
    ("GPU memory", {"memory_used": None}),
    ("GPU memory", {"memory_total": None}),
    ("GPU errors", {"uncorrected": None}),
    ("GPU power cap", {"power_limit": None}),
    ("GPU power cap", {"power_default": None}),
    ("GPU clocks", {"slowed": None}),
    ("GPU persistence", {"persistent": None}),
]


@pytest.mark.parametrize(("name", "changes"), UNKNOWN)
def test_a_value_that_one_gpu_does_not_tell_is_unknown_though_others_are_well(judge, name, changes):
    silent = replace(WELL, label="GPU 1", bus="0000:02:00.0", **changes)
    found = judge(WELL, silent)[name]
    assert (found.state, found.text) == ("UNKNOWN", "GPU 1: the driver does not say (N/A)")


def test_every_value_of_the_facts_has_its_case_above():
    """But for those that only add to another value (corrected errors, ECC, repairs) and those that say which it is."""
    named = {key for _, changes in UNKNOWN for key in changes}
    others = {"label", "bus", "ecc", "corrected", "pending", "unrepairable", "fabric"}
    assert named | others == set(GpuState.__dataclass_fields__)


def test_trouble_of_one_gpu_is_told_before_silence_of_another(judge):
    found = judge(replace(WELL, power_limit=None), replace(WELL, label="GPU 1", bus="0000:02:00.0", power_limit=400.0))
    assert (found["GPU power cap"].state, "GPU 1: 400 W" in found["GPU power cap"].text) == ("WARN", True)


def test_only_the_gpus_of_the_run_count(judge):
    others = replace(WELL, label="GPU 1", bus="0000:02:00.0", processes=(TRAINING,))
    assert judge(WELL, others, asked=(0,))["GPU processes"].state == "PASS"
    assert judge(WELL, others, asked=(1,))["GPU processes"].state == "FAIL"


def test_gpus_that_are_not_listed_are_unknown(make_facts):
    facts = make_facts(accelerator=Accelerator(vendor="amd", gpus=(Gpu(index=0, bus="0000:07:00.0"),)))
    (found,) = gpu_state(HostGpus(gpus=(WELL,)), facts, Asked(gpus=(0,)))
    assert found.state == "UNKNOWN"


def test_amd_gpus_are_not_asked_for_persistence_and_say_why_they_are_silent(judge):
    silent = replace(WELL, persistent=None, ecc=None, slowed=None)
    found = judge(silent, vendor="amd", unread={"clocks": "amd-smi: No such file or directory"})
    assert "GPU persistence" not in found
    assert found["GPU clocks"].text == "GPU 0: amd-smi: No such file or directory"
    assert found["GPU errors"].state == "PASS"


def test_gpus_behind_nvswitch_have_to_have_joined(judge):
    joined = replace(WELL, fabric="Completed")
    assert judge(joined)["GPU fabric"].state == "PASS"
    assert "GPU fabric" not in judge(WELL)
    alone = replace(WELL, label="GPU 1", bus="0000:02:00.0")
    assert judge(joined, alone)["GPU fabric"].text == "GPU 1: not joined"

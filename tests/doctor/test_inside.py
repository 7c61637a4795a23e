"""What is seen inside an image, and what is made of it."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.doctor.inside import MARK, findings_of, lacks_torch, read_look
from madrun.doctor.trial import LOOK, PROGRAMS

GOOD = {"shm_kib": "2097152", "nofile": "65536", "memlock_kib": "unlimited", "python": "3.11.2", "torch": "2.13.0"}


def look(**values):
    return read_look([f"{MARK}{name} {value}" for name, value in values.items()])


def states(inside, ranks=1):
    return {finding.name: finding.state for finding in findings_of(inside, ranks)}


def test_an_image_that_has_all_is_well():
    assert set(states(look(**GOOD)).values()) == {"PASS"}


def test_nothing_told_is_not_known_and_never_well():
    found = findings_of(read_look([]), 1)
    assert {finding.state for finding in found} == {"UNKNOWN"}
    assert [finding.text for finding in found if not finding.text] == []


@pytest.mark.parametrize("missing", ["shm_kib", "nofile", "memlock_kib", "torch"])
@pytest.mark.parametrize("value", [None, "", "-1", "many", "1e9", "９"])
def test_a_value_that_cannot_be_read_never_passes_as_measured(missing, value):
    told = {name: text for name, text in GOOD.items() if name != missing}
    if value is not None and missing != "torch":
        told[missing] = value
    names = {"shm_kib": "shm inside", "nofile": "open files inside", "memlock_kib": "locked memory inside"}
    state = states(look(**told))[names.get(missing, "torch inside")]
    assert state == "UNKNOWN"


@pytest.mark.parametrize(
    ("kib", "ranks", "state"),
    [
        (16 << 10, 1, "FAIL"),
        (64 << 10, 1, "WARN"),
        (64 << 10, 8, "FAIL"),
        ((1 << 20) - 1, 8, "WARN"),
        (1 << 20, 8, "PASS"),
    ],
)
def test_shared_memory_is_judged_by_the_ranks_of_the_node(kib, ranks, state):
    found = findings_of(look(**GOOD | {"shm_kib": str(kib)}), ranks)[0]
    assert found.state == state
    assert (found.advice != "") == (state != "PASS")
    assert (found.source != "") == (state != "PASS")


def test_shared_memory_that_is_filled_is_judged_by_what_is_free():
    full = look(**GOOD | {"shm_kib": "2097152", "shm_free_kib": "1024"})
    found = findings_of(full, 1)[0]
    assert (found.state, "remove from /dev/shm" in found.advice) == ("FAIL", True)
    assert states(look(**GOOD | {"shm_kib": "1048576", "shm_free_kib": "1048000"}))["shm inside"] == "PASS"


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        ({"gpus": "8"}, "PASS", ""),
        ({"gpus": "7"}, "WARN", "GPUs that it sees: 7; the plan gives it 8 GPUs"),
        ({"gpus": "0"}, "FAIL", "GPUs that it sees: 0; the plan gives it 8 GPUs"),
        ({"gpu_error": "RuntimeError: driver too old"}, "FAIL", "8 GPUs (RuntimeError: driver too old)"),
        ({}, "UNKNOWN", "how many GPUs it sees was not told"),
    ],
)
def test_a_torch_that_does_not_see_the_gpus_of_the_plan_never_passes(told, state, words):
    inside = look(**GOOD, **told)
    found = findings_of(inside, 8, 8)[-1]
    assert (found.name, found.state) == ("torch inside", state)
    assert words in found.text
    assert bool(lacks_torch(inside, 8)) == (state in ("FAIL", "UNKNOWN"))
    assert states(inside)["torch inside"] == "PASS"  # on a host without GPUs


def test_locked_memory_matters_where_an_rdma_device_is_inside():
    limited = GOOD | {"memlock_kib": "8192"}
    assert states(look(**limited))["locked memory inside"] == "PASS"
    assert states(look(**limited, rdma="uverbs0"))["locked memory inside"] == "FAIL"
    assert states(look(**limited, rdma="uverbs0", memlock_above="1"))["locked memory inside"] == "PASS"
    assert states(look(**limited | {"memlock_kib": "65536"}, rdma="uverbs0"))["locked memory inside"] == "WARN"
    assert states(look(**GOOD, rdma="uverbs0"))["locked memory inside"] == "PASS"


@pytest.mark.parametrize(
    ("number", "state"), [("256", "FAIL"), ("1024", "WARN"), ("4096", "PASS"), ("unlimited", "PASS")]
)
def test_few_open_files_are_told(number, state):
    assert states(look(**GOOD | {"nofile": number}))["open files inside"] == state


def test_a_torch_that_cannot_be_imported_is_a_failure_and_none_is_not_known():
    broken = {name: value for name, value in GOOD.items() if name != "torch"}
    assert states(look(**broken, torch_error="OSError: libcudart.so.12"))["torch inside"] == "FAIL"
    assert lacks_torch(look(**broken, torch_error="OSError: x")) == "torch cannot be imported in the image"
    assert states(look(**broken))["torch inside"] == "UNKNOWN"
    assert lacks_torch(look(**broken)) == "no torch in the image"
    assert lacks_torch(look()) == "no python3 in the image"
    assert lacks_torch(look(**GOOD)) == ""


@settings(max_examples=25)
@given(st.lists(st.text(max_size=60).map(lambda text: MARK + text)))
def test_no_line_of_an_image_breaks_the_reading(lines):
    for finding in findings_of(read_look(lines), 1):
        assert finding.text


@pytest.mark.slow
def test_the_program_tells_of_this_machine_what_is_judged():
    done = subprocess.run(["bash", str(PROGRAMS / LOOK)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    inside = read_look(done.stdout.splitlines())
    assert inside.nofile or "nofile" in inside.unlimited
    assert inside.memlock or "memlock_kib" in inside.unlimited
    assert inside.shm
    assert inside.python


def test_the_program_tells_of_an_image_without_any_tool_at_least_its_limits(tmp_path):
    done = subprocess.run(
        ["/bin/bash", str(PROGRAMS / LOOK)], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 0
    inside = read_look(done.stdout.splitlines())
    assert inside.nofile or "nofile" in inside.unlimited
    assert inside.python == ""

"""Classes of failures, by logs of real failures: recorded/SOURCES.md says where each comes from."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.causes import LINES, TABLE, classify, culprit, final_exceptions, refined
from madrun.spec.record import LEASE_ENDED, Failure, NodeOutcome

RECORDED = Path(__file__).parent / "recorded"
LOGS = {
    "bus": ("shared-memory", 135),
    "denied": ("permission", 1),
    "full-py": ("disk-full", 1),
    "full-shell": ("disk-full", 1),
    "gloo-file": ("missing-file", 1),
    "gloo-import": ("import-error", 1),
    "gloo-kill": ("killed", 1),
    "gloo-segv": ("segfault", 1),
    "gloo-sleep": ("gloo-timeout", 1),
    "loader-bus": ("shared-memory", 1),
    "loader-busload": ("shared-memory", 1),
    "memerr": ("oom", 1),
    "oom-child": ("killed", 1),
    "oom-plain": ("killed", 137),
    "py-missing": ("missing-file", 2),
    "py-syntax": ("syntax-error", 1),
    "rendezvous": ("rendezvous", 1),
    "segv": ("segfault", 139),
    "segv-shell": ("segfault", 139),
    "shell-cat": ("missing-file", 1),
    "shell-missing": ("command-not-found", 127),
    "so-missing": ("import-error", 1),
    "torch-oom": ("killed", 1),
    "torchrun-alone": ("rendezvous", 1),
    "torchrun-join": ("rendezvous", 1),
    "torchrun-port": ("port-in-use", 1),
    "torchrun-port-static": ("port-in-use", 1),
}


def lines_of(name):
    return (RECORDED / f"{name}.log").read_text().splitlines()[-LINES:]


def quoted():
    text = (RECORDED / "quoted.txt").read_text().splitlines()
    return [(line.split()[1], following) for line, following in zip(text[::2], text[1::2], strict=True)]


@pytest.mark.parametrize("name", LOGS)
def test_a_recorded_log_is_of_its_class(name):
    kind, code = LOGS[name]
    assert classify(lines_of(name), code).kind == kind


def test_every_recorded_log_is_tested():
    assert {file.stem for file in RECORDED.glob("*.log")} == set(LOGS)


@pytest.mark.parametrize(("kind", "line"), quoted())
def test_a_quoted_line_is_of_its_class(kind, line):
    assert classify([line], 1).kind == kind


def test_every_class_has_a_log_or_a_line():
    seen = {kind for kind, _ in LOGS.values()} | {kind for kind, _ in quoted()} | {"peer-lost"}
    assert {cause.kind for cause in TABLE} == seen


@pytest.mark.parametrize("name", ["torch-oom", "oom-child", "oom-plain"])
def test_what_the_kernel_counted_tells_memory_from_any_other_kill(name):
    cause = classify(lines_of(name), LOGS[name][1], 1)
    assert cause.kind == "oom"
    assert "killed 1 process of this run for want of memory" in cause.advice


def test_a_kill_that_the_kernel_did_not_count_is_no_lack_of_memory():
    assert classify(lines_of("gloo-kill"), 1, 0).kind == "killed"


def test_memory_of_a_gpu_is_told_from_that_of_the_host_also_when_the_kernel_killed_something():
    assert classify(["torch.OutOfMemoryError: CUDA out of memory. Tried"], 1, 2).kind == "gpu-oom"


def test_a_rank_that_lost_its_peer_is_not_the_cause_while_the_peers_own_words_are_there():
    lines = lines_of("gloo-import")
    alone = [line for line in lines if line.startswith("[rank0]")]
    assert classify(alone, 1).kind == "peer-lost"
    assert classify(lines, 1).kind == "import-error"


def test_an_exception_that_was_caught_before_another_is_not_the_cause():
    lines = ["ModuleNotFoundError: No module named 'flash_attn'", "falling back", "ValueError: loss is not finite"]
    assert classify(lines, 1) is None
    assert final_exceptions(lines) == ["ValueError: loss is not finite"]
    per_rank = ["[rank0]: KeyError: 'a'", "[rank1]: torch.distributed.DistStoreError: x", "[rank0]: ValueError: b"]
    assert final_exceptions(per_rank) == ["ValueError: b", "torch.distributed.DistStoreError: x"]


@pytest.mark.parametrize(
    "warning",
    [
        "Could not load dynamic library 'libnvinfer.so.7'; dlerror: libnvinfer.so.7: cannot open shared object file",
        "W: port 6006: Address already in use, taking 6007",
        "WARNING retrying after Connection reset by peer",
        "find: /data: Permission denied",
    ],
)
def test_a_warning_that_was_got_over_is_not_the_cause(warning):
    assert (
        classify([warning, *["step"] * 9, "Traceback (most recent call last):", "ValueError: loss is not finite"], 1)
        is None
    )


def test_a_shells_message_counts_at_the_very_end_alone():
    early = ["cat: /etc/cuda: No such file or directory", *["step"] * 10, "assertion failed"]
    assert classify(early, 1) is None


@pytest.mark.parametrize(
    ("lines", "code"), [([], 1), (["ValueError: x"], 1), (["error killed nothing"], 2), (["performance: 1 tok"], 3)]
)
def test_what_no_class_fits_stays_a_script_error(lines, code):
    assert classify(lines, code) is None


@given(st.lists(st.text(max_size=40), max_size=20), st.none() | st.integers(0, 255), st.none() | st.integers(0, 9))
def test_any_text_is_classified_without_an_error(lines, code, kills):
    cause = classify(lines, code, kills)
    assert cause is None or cause.advice


LOST = "[rank1]: RuntimeError: [gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:19850."
FIRST = Failure(kind="script error", text="the script ended with exit code 1 on node 1", node=1, exit_code=1)


def outcome(node, failure=None):
    return NodeOutcome(node=node, hostname=f"n{node}", failure=failure)


def of_class(name, node, **changes):
    told = replace(FIRST, node=node, text=FIRST.text.replace("node 1", f"node {node}"), last_lines=("said",), **changes)
    return refined(told, classify(lines_of(name), 1))


def test_a_class_adds_what_to_do_below_the_sentence_that_was_told():
    failure = of_class("torchrun-port", 1)
    first, advice = failure.text.splitlines()
    assert first == FIRST.text
    assert "MASTER_PORT" in advice
    assert refined(FIRST, None) == FIRST


def test_the_culprit_is_told_as_its_own_node_found_it_out():
    own = of_class("gloo-file", 1)
    assert culprit(FIRST, [outcome(0), outcome(1, own)]) == own


def test_the_cause_on_another_node_counts_more_than_the_loss_of_a_peer_that_was_heard_of_first():
    lost = refined(replace(FIRST, last_lines=("x",)), classify([LOST], 1))
    cause = of_class("gloo-kill", 0)
    assert culprit(FIRST, [outcome(0, cause), outcome(1, lost)]) == cause
    assert culprit(FIRST, [outcome(0), outcome(1, lost)]) == lost
    unknown = replace(FIRST, node=0, text="the script ended with exit code 9 on node 0")
    assert culprit(FIRST, [outcome(0, unknown), outcome(1, lost)]) == unknown
    interrupted = Failure(kind="interrupted", text="SIGINT on node 0", node=0)
    assert culprit(FIRST, [outcome(0, interrupted), outcome(1, lost)]) == lost


def test_a_madrun_that_stood_still_is_the_cause_of_the_losses_that_it_hears_of_when_it_goes_on():
    lost = Failure(kind="node lost", text="node 2 (n2) was lost: it left", node=2)
    still = Failure(kind="node", text=f"{LEASE_ENDED} 0: madrun was stopped, or starved, for 10 s", node=0)
    assert culprit(lost, [outcome(0, still), outcome(1)]) == still
    assert culprit(lost, [outcome(0), outcome(1)]) == lost


def test_a_stalled_run_is_told_with_the_evidence_of_the_node_that_stood_still_first():
    told = Failure(kind="stalled", text="nothing has moved", node=1)
    on_0 = replace(told, last_lines=("of node 0",), evidence=("evidence/stack-1.txt",))
    on_1 = replace(told, last_lines=("of node 1",), evidence=("evidence/stack-2.txt",))
    assert culprit(told, [outcome(0, on_0), outcome(1, on_1)]) == on_1


def test_a_failure_that_no_node_tells_itself_stays_what_it_was():
    vanished = Failure(kind="node lost", text="node 1 was lost", node=1)
    assert culprit(vanished, [outcome(0)]) == vanished
    other = replace(FIRST, last_lines=("its own",), evidence=())
    assert culprit(vanished, [outcome(1, other)]) == replace(vanished, last_lines=("its own",))


@pytest.mark.parametrize(
    "mentioned",
    [
        "WARNING cache: [Errno 28] No space left on device, going on without",
        "CUDA out of memory: trying again with batch size 8",
    ],
)
def test_what_a_program_mentions_and_survives_is_not_why_it_failed(mentioned):
    lines = [mentioned, "Traceback (most recent call last):", '  File "t.py", line 3', "ValueError: loss is nan"]
    assert classify(lines, 1) is None
    assert classify([mentioned, "step 1"], 1).kind in ("disk-full", "gpu-oom")


def test_what_is_said_after_the_exception_and_by_it_still_counts():
    assert classify(["ValueError: x", "cp: error writing 'y': No space left on device"], 1).kind == "disk-full"
    assert classify(["RuntimeError: write", "OSError: [Errno 28] No space left on device"], 1).kind == "disk-full"


def test_the_victim_that_speaks_last_does_not_hide_the_rank_that_ran_out_of_memory():
    lines = [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:3",
    ]
    assert classify(lines, 1).kind == "gpu-oom"

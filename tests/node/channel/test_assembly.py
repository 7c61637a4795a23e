"""The nodes of a run as a state machine: no socket, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.channel.assembly import Assembly, Ruling, ranges
from madrun.node.channel.protocol import VERSION, hello
from madrun.spec.record import Failure

FAILURE = Failure(kind="script error", text="exit code 3 on node 1", node=1)


def together(nnodes=3, judges=None):
    """An assembly in which everyone has joined."""
    assembly = Assembly(nnodes, judges or {})
    for rank in range(nnodes):
        assembly.hello(hello(rank, nnodes, f"host{rank}"))
    return assembly


def kinds(outbox):
    return [(rank, message["type"]) for rank, message in outbox]


def test_the_roll_names_who_is_there_and_who_is_missing():
    assembly = Assembly(3, {})
    assert assembly.hello(hello(1, 3, "beta")) == (1, "", [])
    assert assembly.roll() == {"type": "waiting", "joined": "1 (beta)", "missing": "0, 2"}
    assert assembly.hello(hello(0, 3, "alpha"))[0] == 0
    assert assembly.roll()["joined"] == "0 (alpha), 1 (beta)"
    assert assembly.missing == [2]


def test_the_roll_of_a_thousand_nodes_is_a_short_line():
    assembly = Assembly(1000, {})
    for rank in range(0, 1000, 2):
        assembly.hello(hello(rank, 1000, f"host{rank}"))
    roll = assembly.roll()
    assert roll["joined"].startswith("0, 2, 4, ")
    assert roll["missing"].endswith("and 488 more")
    assert len(roll["joined"]) + len(roll["missing"]) < 200


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_every_rank_once(ranks):
    text = ranges(ranks)
    if " more" in text or text == "none":
        assert bool(ranks) == (text != "none")
        return
    named = []
    for part in text.split(", "):
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(ranks)


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (hello(1, 3, "beta"), ["NODE_RANK 1 is given twice", "host1", "beta", "its own MASTER_PORT"]),
        (hello(2, 4, "beta"), ["NNODES differs", "4 on beta", "3 on node 0"]),
        (hello(3, 3, "beta"), ["NODE_RANK 3 on beta is out of range", "0 to 2"]),
        (hello(-1, 3, "beta"), ["NODE_RANK -1", "out of range"]),
        (hello("1", 3, "beta"), ["NODE_RANK '1'", "out of range"]),
        (hello(None, 3, "beta"), ["NODE_RANK None", "out of range"]),
    ],
)
def test_a_wrong_newcomer_is_refused_with_the_reason_on_every_node(message, parts):
    assembly = Assembly(3, {})
    assembly.hello(hello(1, 3, "host1"))
    rank, reason, outbox = assembly.hello(message)
    assert rank is None
    assert [part for part in parts if part not in reason] == []
    assert kinds(outbox) == [(1, "abort")]
    assert outbox[0][1]["failure"]["text"] == reason
    assert outbox[0][1]["failure"]["kind"] == "join refused"


def test_a_stranger_with_another_protocol_is_refused_and_ends_nothing():
    assembly = Assembly(2, {})
    assembly.hello(hello(0, 2, "a"))
    rank, reason, outbox = assembly.hello(hello(1, 2, "b") | {"protocol": VERSION + 1})
    assert (rank, outbox, assembly.failure) == (None, [], None)
    assert f"speaks protocol {VERSION + 1}, node 0 speaks {VERSION}" in reason


def test_a_late_duplicate_does_not_end_a_run_that_is_under_way():
    assembly = together()
    rank, reason, outbox = assembly.hello(hello(2, 3, "beta"))
    assert (rank, outbox, assembly.failure) == (None, [], None)
    assert "given twice" in reason


def test_a_node_of_another_run_hears_of_both_and_is_not_let_in():
    assembly = Assembly(2, {})
    assembly.hello(hello(0, 2, "alpha", "llama2_7b"))
    rank, reason, outbox = assembly.hello(hello(1, 2, "gamma", "sanity"))
    assert rank is None
    assert "llama2_7b on node 0, sanity on gamma (NODE_RANK 1)" in reason
    assert "two runs at one place? give each its own MASTER_PORT" in reason
    assert kinds(outbox) == [(0, "abort")]


def test_a_node_of_another_run_does_not_end_the_one_that_is_under_way():
    assembly = together(2)
    assembly.members[0]["run"] = "llama2_7b"
    rank, reason, outbox = assembly.hello(hello(1, 2, "gamma", "sanity"))
    assert (rank, outbox, assembly.failure) == (None, [], None)
    assert "sanity on gamma" in reason


def test_a_visit_of_the_doctor_does_not_end_a_run_that_waits_for_its_nodes():
    assembly = Assembly(2, {})
    assembly.hello(hello(0, 2, "alpha", "llama2_7b"))
    rank, reason, outbox = assembly.hello(hello(1, 2, "gamma", "doctor: sanity"))
    assert (rank, outbox, assembly.failure) == (None, [], None)
    assert "llama2_7b on node 0, doctor: sanity on gamma" in reason
    assert assembly.hello(hello(1, 2, "beta", "llama2_7b")) == (1, "", [])


def test_a_node_of_a_run_that_meets_a_visit_gets_no_answer_and_goes_on_waiting():
    assembly = Assembly(2, {})
    assembly.hello(hello(0, 2, "alpha", "doctor: sanity"))
    assert assembly.hello(hello(1, 2, "gamma", "llama2_7b")) == (None, "", [])
    assert assembly.failure is None
    assert assembly.hello(hello(1, 2, "beta", "doctor: sanity")) == (1, "", [])


def test_what_a_newcomer_calls_itself_cannot_forge_lines():
    _, reason, _ = Assembly(2, {}).hello(hello(7, 2, "x\n\x1b[2Jall nodes joined" + "y" * 500))
    assert "\n" not in reason
    assert "\x1b" not in reason
    assert len(reason) < 250


messages = st.dictionaries(
    st.sampled_from(["node_rank", "nnodes", "hostname", "run", "protocol"]),
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
)


@given(st.lists(messages, max_size=6))
def test_any_hello_joins_or_is_refused_in_words(hellos):
    assembly = Assembly(3, {})
    for message in hellos:
        rank, reason, _ = assembly.hello({"type": "hello", "protocol": VERSION, "nnodes": 3} | message)
        assert (rank is None) == bool(reason)
        assert rank in (None, 0, 1, 2)
        assembly.roll()


def test_a_stage_is_released_when_the_last_node_has_come():
    assembly = together()
    assert assembly.reach(0, "0/ready", "a", False) == []
    assert assembly.reach(2, "0/ready", "c", False) == []
    outbox = assembly.reach(1, "0/ready", "b", False)
    assert kinds(outbox) == [(0, "release"), (1, "release"), (2, "release")]
    assert outbox[0][1]["all"] == {"0": "a", "1": "b", "2": "c"}
    assert "all" not in outbox[1][1]


def test_a_judge_gives_data_to_all():
    assembly = together(2, {"begin": lambda payloads: Ruling(data=payloads[0])})
    assembly.reach(1, "0/begin", None, False)
    outbox = assembly.reach(0, "0/begin", "run id", False)
    assert [message["data"] for _, message in outbox] == ["run id", "run id"]


def test_a_judge_that_refuses_ends_the_run_for_all():
    assembly = together(2, {"jobs": lambda _payloads: Ruling(failure=FAILURE)})
    assembly.reach(0, "join/jobs", None, False)
    assert kinds(assembly.reach(1, "join/jobs", None, False)) == [(0, "abort"), (1, "abort")]
    assert assembly.failure == FAILURE


def test_the_first_failure_wins_and_everyone_hears_of_it_once():
    assembly = together()
    assert kinds(assembly.fail(FAILURE)) == [(0, "abort"), (1, "abort"), (2, "abort")]
    assert assembly.fail(Failure(kind="timeout", text="later", node=2)) == []
    assert assembly.failure == FAILURE


def test_a_stage_after_a_failure_is_answered_with_it():
    assembly = together()
    assembly.fail(FAILURE)
    outbox = assembly.reach(2, "0/ready", None, False)
    assert kinds(outbox) == [(2, "abort")]
    assert outbox[0][1]["failure"]["text"] == FAILURE.text


def test_a_final_stage_is_reached_also_after_a_failure_and_node_0_is_told_which():
    assembly = together(2)
    assembly.fail(FAILURE)
    assert assembly.reach(0, "0/finished", "a", True) == []
    outbox = assembly.reach(1, "0/finished", "b", True)
    assert kinds(outbox) == [(0, "release"), (1, "release")]
    assert outbox[0][1]["all"]["failure"]["text"] == FAILURE.text
    assert outbox[0][1]["all"]["1"] == "b"


def test_a_final_stage_without_a_failure_says_so():
    assembly = together(1)
    ((_, message),) = assembly.reach(0, "0/finished", "a", True)
    assert message["all"] == {"0": "a", "failure": None}


def test_a_lost_node_is_the_failure_of_all_others_with_its_name():
    outbox = (assembly := together()).lost(1, "its connection ended")
    assert kinds(outbox) == [(0, "abort"), (2, "abort")]
    assert assembly.failure.kind == "node lost"
    assert "node 1 (host1) was lost: its connection ended" in assembly.failure.text
    assert assembly.lost(1, "again") == []


def test_a_lost_node_is_not_waited_for_at_a_final_stage():
    assembly = together()
    assembly.reach(0, "0/finished", "a", True)
    assembly.reach(2, "0/finished", "c", True)
    outbox = assembly.lost(1, "silence")
    releases = [(rank, message) for rank, message in outbox if message["type"] == "release"]
    assert [rank for rank, _ in releases] == [0, 2]
    assert set(releases[0][1]["all"]) == {"0", "2", "failure"}


def test_a_node_lost_before_is_not_waited_for_at_a_later_final_stage():
    assembly = together()
    assembly.lost(2, "silence")
    assembly.reach(0, "0/finished", "a", True)
    assert kinds(assembly.reach(1, "0/finished", "b", True)) == [(0, "release"), (1, "release")]


def test_a_lost_node_is_waited_for_at_no_ordinary_stage_because_the_run_is_over():
    assembly = together(2)
    assembly.reach(0, "0/ready", None, False)
    assert kinds(assembly.lost(1, "silence")) == [(0, "abort")]


def end_run(assembly, index, nnodes):
    for stage in ("finished", "end"):
        for rank in range(nnodes):
            outbox = assembly.reach(rank, f"{index}/{stage}", None, True)
    return outbox


def test_a_failure_of_one_run_does_not_stand_against_the_next():
    assembly = together(2)
    assembly.fail(FAILURE)
    end_run(assembly, 0, 2)
    assert assembly.failure is None
    assembly.reach(0, "1/begin", None, False)
    assert kinds(assembly.reach(1, "1/begin", None, False)) == [(0, "release"), (1, "release")]


def test_a_lost_node_stands_against_every_later_run():
    assembly = together(2)
    assembly.lost(1, "silence")
    assembly.reach(0, "0/finished", None, True)
    assembly.reach(0, "0/end", None, True)
    assert assembly.failure is not None
    assert kinds(assembly.reach(0, "1/begin", None, False)) == [(0, "abort")]


def test_the_same_stage_of_two_runs_is_two_stages():
    assembly = together(2)
    assembly.reach(0, "0/ready", None, False)
    assert assembly.reach(1, "1/ready", None, False) == []

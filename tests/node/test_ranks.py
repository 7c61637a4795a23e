"""The ranks' logs come out of the box without secrets, and the rank that ended first is the culprit."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.collect import with_unended
from madrun.node.ranks import first_to_fail, keep_ranks, last_to_fail, parse_ends, read_ranks, unended, with_rank
from madrun.node.workspace import Workspace
from madrun.spec.record import Failure, NodeOutcome, RankEnd


@pytest.fixture
def space(tmp_path):
    made = Workspace(tmp_path / "node-1")
    made.boxed_ranks.mkdir(parents=True)
    return made


def wrote(space, name, text):
    (space.boxed_ranks / name).write_text(text)


def test_logs_leave_the_box_as_they_are(space):
    wrote(space, "rank-0.log", "a\n")
    wrote(space, "rank-12.end", "5.0 1 9.0\n")
    assert keep_ranks(space, ()) == []
    assert sorted(path.name for path in space.ranks.iterdir()) == ["rank-0.log", "rank-12.end"]
    assert not list(space.boxed_ranks.iterdir())


def test_secrets_are_masked_wherever_they_stand(space):
    wrote(space, "rank-0.log", "x" * ((1 << 20) - 3) + "secret-word and secret-word\n")
    assert keep_ranks(space, ("secret-word",)) == []
    assert (space.ranks / "rank-0.log").read_text() == "x" * ((1 << 20) - 3) + "*** and ***\n"
    assert not list(space.boxed_ranks.iterdir())


def test_a_box_that_stays_keeps_its_files_and_can_be_read_again(space):
    wrote(space, "rank-0.log", "a\n")
    keep_ranks(space, (), stays=True)
    with (space.boxed_ranks / "rank-0.log").open("a") as file:
        file.write("b\n")
    keep_ranks(space, ())
    assert (space.ranks / "rank-0.log").read_text() == "a\nb\n"


def test_what_a_script_puts_in_the_place_of_a_log_is_not_taken(space, tmp_path):
    (tmp_path / "mine").write_text("private")
    (space.boxed_ranks / "rank-0.log").symlink_to(tmp_path / "mine")
    os.mkfifo(space.boxed_ranks / "rank-1.log")
    wrote(space, "other", "x")
    assert keep_ranks(space, ()) == []
    assert not space.ranks.exists() or not list(space.ranks.iterdir())
    assert (tmp_path / "mine").read_text() == "private"


def test_without_ranks_nothing_is_made(space):
    assert keep_ranks(space, ()) == []
    assert not space.ranks.exists()
    assert read_ranks(space.ranks) == (None, [])


def test_the_rank_that_failed_first_comes_with_its_own_last_lines_and_gaps_are_named(space):
    wrote(space, "rank-2.log", "two\n")
    wrote(space, "rank-2.end", "100.500000 -9 44.0\n")
    wrote(space, "rank-3.log", "three\nwhy\n")
    wrote(space, "rank-3.end", "100.250000 1 44.0 No space left on device\n")
    keep_ranks(space, ())
    first, notes = read_ranks(space.ranks)
    assert first == RankEnd(rank=3, at=100.25, exit_code=1, last_lines=("three", "why"))
    assert notes == ["ranks/rank-3.log is not complete: No space left on device; console.log has all of it"]


def test_what_an_earlier_launch_got_over_is_not_the_cause():
    def end(rank, at, code):
        return RankEnd(rank=rank, at=at, exit_code=code)

    first = [("1.0", end(0, 10.0, 1)), ("1.0", end(1, 9.0, 1))]
    second = [("1.1", end(0, 20.0, -15)), ("1.1", end(1, 19.0, 7)), ("1.1", end(2, 18.0, 0))]
    assert last_to_fail([*first, *second]) == [end(1, 19.0, 7), end(0, 20.0, -15)]
    assert last_to_fail([("1.0", end(0, 1.0, 0))]) == []


LOST = "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"


def test_a_rank_that_lost_another_gives_way_to_one_that_ended_soon_after_with_words_of_its_own(space):
    for rank, at, code, said in ((0, 100.0, 1, LOST), (1, 100.1, -15, "working"), (2, 100.3, 1, "a reason of its own")):
        wrote(space, f"rank-{rank}.log", said + "\n")
        wrote(space, f"rank-{rank}.end", f"{at:.6f} {code} 44.0\n")
    keep_ranks(space, ())
    first, _ = read_ranks(space.ranks)
    assert (first.rank, first.last_lines) == (2, ("a reason of its own",))


def test_what_ended_long_after_is_no_cause_and_among_victims_the_first_counts():
    ends = {0: ended(0, 10.0, lines=(LOST,)), 1: ended(1, 11.0, -15), 2: ended(2, 90.0, lines=("much later",))}
    assert first_to_fail({rank: end.at for rank, end in ends.items()}, ends) == 0


def test_across_nodes_too_a_victim_gives_way():
    first = failed(0, "peer-lost", lines=(LOST,))
    outcomes = [
        outcome(0, ended(0, 100.0, lines=(LOST,)), first),
        outcome(1, ended(3, 100.2, lines=("a reason of its own",))),
    ]
    found = with_rank(first, outcomes, {"0": 0.0, "1": 0.0})
    assert (found.node, found.rank, found.kind) == (1, 3, "script error")


@given(st.text(alphabet="0123456789.- \nab", max_size=80))
def test_no_text_breaks_the_reader_of_ends(text):
    for launch, end, _problem in parse_ends(text, 0):
        assert "." in launch
        assert end.at >= 0


@given(st.lists(st.tuples(st.floats(1, 1e9), st.integers(-64, 255), st.integers(1, 9), st.sampled_from(["", "EIO"]))))
def test_ends_are_read_as_they_are_written(ends):
    lines = [f"{at:.6f} {code} {parent}.0 {problem}".rstrip() for at, code, parent, problem in ends]
    found = parse_ends("".join(line + "\n" for line in lines), 5)
    assert [(end.exit_code, problem) for _, end, problem in found] == [(code, problem) for _, code, _, problem in ends]


def outcome(node, first=None, failure=None):
    return NodeOutcome(node=node, hostname=f"h{node}", first_rank=first, failure=failure)


def failed(node, kind="script error", text="the script ended with exit code 1", lines=()):
    return Failure(kind=kind, text=text, node=node, exit_code=1, last_lines=lines)


def ended(rank, at, code=1, lines=()):
    return RankEnd(rank=rank, at=at, exit_code=code, last_lines=lines)


def test_the_rank_that_ended_first_is_blamed_by_corrected_clocks():
    first = failed(0, "peer-lost", lines=("Connection closed by peer",))
    outcomes = [
        outcome(0, ended(0, 100.4, lines=("Connection closed by peer",)), first),
        outcome(1, ended(3, 160.1, lines=("no idea",))),
    ]
    found = with_rank(first, outcomes, {"0": 0.0, "1": 60.0})
    assert (found.node, found.rank, found.kind) == (1, 3, "script error")
    assert found.text == "rank 3 (node 1) ended first, with exit code 1"
    assert found.last_lines == ("no idea",)


def test_the_kind_is_read_from_the_ranks_own_lines():
    lines = ("ModuleNotFoundError: No module named 'x'",)
    first = failed(0, "peer-lost")
    found = with_rank(first, [outcome(0, ended(0, 5.0, lines=lines), first)], {})
    assert found.kind == "import-error"
    killed = with_rank(first, [outcome(0, ended(0, 5.0, code=-9), first)], {})
    assert killed.kind == "killed"
    assert killed.text.startswith("rank 0 (node 0) ended first, by signal 9 (SIGKILL)")


def test_a_failure_that_its_words_explain_stays_with_its_node():
    first = failed(1, "gpu-oom", "the script ended with exit code 1\nthe model does not fit", ("out of memory",))
    outcomes = [outcome(0, ended(0, 5.0)), outcome(1, ended(2, 9.0), first)]
    found = with_rank(first, outcomes, {"0": 0.0, "1": 0.0})
    assert (found.node, found.rank, found.kind) == (1, 2, "gpu-oom")
    assert found.text.split("\n")[1:] == ["the model does not fit"]
    assert found.last_lines == ("out of memory",)


@pytest.mark.parametrize("offsets", [{}, {"0": 0.0, "1": None}])
def test_without_a_known_clock_only_the_node_that_told_first_is_looked_at(offsets):
    first = failed(0)
    found = with_rank(first, [outcome(0, ended(0, 5.0), first), outcome(1, ended(2, 1.0))], offsets)
    assert (found.node, found.rank) == (0, 0)


def test_ranks_that_were_ended_because_of_something_else_are_not_blamed():
    first = failed(0)  # the script itself, no rank
    outcomes = [outcome(0, None, first), outcome(1, ended(2, 1.0, -15))]
    assert with_rank(first, outcomes, {"0": 0.0, "1": 0.0}) == first
    stopped = Failure(kind="interrupted", text="SIGINT", node=0)
    assert with_rank(stopped, [outcome(0, ended(0, 1.0, -15))], {"0": 0.0}) == stopped


def of_a_script(first=None, failure=None):
    """Node 0, whose script began at 1 s and ended at 9 s."""
    return NodeOutcome(
        node=0, hostname="h0", first_rank=first, failure=failure, started_at=1.0, timings={"script": 8.0}
    )


CLOCKS = {"0": 0.0, "1": 0.0}


def test_where_node_zero_starts_all_ranks_those_of_other_nodes_are_blamed_too():
    told = failed(0, lines=("mpirun noticed that rank 3 exited",))
    outcomes = [of_a_script(None, told), outcome(1, ended(3, 5.0, 7, ("boom",)))]
    found = with_rank(told, outcomes, CLOCKS, head=True)
    assert (found.node, found.rank, found.exit_code, found.last_lines) == (1, 3, 7, ("boom",))
    victims = [of_a_script(ended(0, 6.0, -15), told), outcomes[1]]
    assert with_rank(told, victims, CLOCKS, head=True).rank == 3
    assert with_rank(told, outcomes, CLOCKS) == told


def test_the_signal_that_mpirun_ends_with_is_that_of_any_rank():
    told = failed(0, "killed", "the script was ended by signal 9 (SIGKILL) on node 0\nsomething sent SIGKILL")
    outcomes = [of_a_script(ended(0, 6.0, -15), told), outcome(1, ended(3, 5.0, -9))]
    found = with_rank(told, outcomes, CLOCKS, head=True)
    assert (found.node, found.rank, found.kind) == (1, 3, "killed")
    assert found.text.startswith("rank 3 (node 1) ended first, by signal 9 (SIGKILL)")


def test_ranks_that_ended_after_the_script_did_not_end_it():
    told = failed(0)
    outcomes = [of_a_script(None, told), outcome(1, ended(3, 9.5, -15))]
    assert with_rank(told, outcomes, CLOCKS, head=True) == told
    assert with_rank(told, outcomes, {"0": 0.0, "1": None}, head=True) == told


def test_a_rank_that_printed_and_never_told_its_end_is_named(tmp_path):
    (tmp_path / "rank-0.log").touch()
    (tmp_path / "rank-0.end").write_text("1.5 0 7.0\n")
    (tmp_path / "rank-3.log").touch()
    (line,) = unended(tmp_path)
    assert line.startswith("rank 3 did not end by itself")


@pytest.mark.parametrize(
    ("runner", "code", "against", "noted"),
    [("deepspeed", 0, 1, 0), ("torchrun", 0, 0, 1), ("deepspeed", 1, 0, 0)],
)
def test_it_stands_against_a_run_whose_runner_would_not_have_told(tmp_path, make_job, runner, code, against, noted):
    space = Workspace(tmp_path)
    space.ranks.mkdir()
    (space.ranks / "rank-3.log").touch()
    outcome = with_unended(space, make_job(runner=runner), NodeOutcome(node=1, hostname="a", exit_code=code))
    assert (len(outcome.findings), len(outcome.notes)) == (against, noted)

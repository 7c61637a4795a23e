"""A rank that failed ends the node's script where the others of its launch stay, and only there."""

from dataclasses import replace

import pytest

from madrun.node.watching import fallen
from madrun.node.watching.fallen import Fallen, partly_failed
from madrun.node.workspace import Workspace
from madrun.spec.record import RankEnd


@pytest.fixture
def clock(monkeypatch):
    """The time that a look sees; `pass_` lets seconds pass."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def pass_(self, seconds):
            self.now += seconds

    made = Clock()
    monkeypatch.setattr(fallen, "time", made)
    return made


@pytest.fixture
def space(tmp_path):
    made = Workspace(tmp_path / "node-1")
    made.boxed_ranks.mkdir(parents=True)
    return made


def ended(space, rank, *lines):
    (space.boxed_ranks / f"rank-{rank}.end").write_text("".join(f"{line}\n" for line in lines))


def looked(found, clock, seconds=(0.2, 0.3, 0.6)):
    said = []
    for one in seconds:
        said.append(found.look())
        clock.pass_(one)
    return [*said, found.look()]


def test_soon_after_a_rank_was_killed_the_ranks_that_stay_end_the_run(make_job, space, clock):
    found = Fallen(make_job(nproc_per_node=2), 1, space)
    assert found.look() is None
    clock.pass_(1)
    ended(space, 3, "5.0 -9 17.0")
    *before, failure = looked(found, clock)
    assert before == [None, None, None]
    assert (failure.node, failure.exit_code) == (1, 137)
    assert failure.text == "rank 3 failed on node 1, and other ranks there did not end"


def test_ranks_that_have_all_ended_are_the_business_of_what_started_them(make_job, space, clock):
    found = Fallen(make_job(nproc_per_node=2), 0, space)
    ended(space, 0, "5.0 1 17.0")
    assert looked(found, clock, (0.5,)) == [None, None]
    ended(space, 1, "5.5 -15 17.0")
    assert looked(found, clock) == [None] * 4


def test_ranks_that_were_asked_to_end_have_not_failed(make_job, space, clock):
    found = Fallen(make_job(nproc_per_node=3), 0, space)
    ended(space, 0, "5.0 -15 17.0")
    ended(space, 1, "5.0 -2 17.0")
    assert looked(found, clock) == [None] * 4


def test_ranks_that_ended_well_wait_for_no_one(make_job, space, clock):
    found = Fallen(make_job(nproc_per_node=3), 0, space)
    ended(space, 0, "5.0 0 17.0")
    assert looked(found, clock) == [None] * 4


def test_a_launch_that_a_script_got_over_does_not_end_the_next_one(make_job, space, clock):
    found = Fallen(make_job(nproc_per_node=2), 0, space)
    ended(space, 0, "5.0 1 17.0")
    ended(space, 1, "5.0 -15 17.0", "9.0 0 40.0")
    assert looked(found, clock) == [None] * 4
    ended(space, 0, "5.0 1 17.0", "9.1 0 40.0")
    assert looked(found, clock) == [None] * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"elastic": "1:2"},
        {"runner_args": ("--max-restarts", "3")},
        {"runner_args": ("--max_restarts=3",)},
        {"env": {"PET_MAX_RESTARTS": "1"}},
    ],
)
def test_where_ranks_are_started_again_a_failure_is_none_yet(make_job, space, clock, changes):
    found = Fallen(replace(make_job(nproc_per_node=2), **changes), 0, space)
    ended(space, 0, "5.0 1 17.0")
    assert looked(found, clock) == [None] * 4


@pytest.mark.parametrize("launch", ["17.0.2+", "17.0.1"], ids=["started again", "of one rank here"])
def test_a_launch_that_says_so_itself_is_left_alone(make_job, space, clock, launch):
    found = Fallen(make_job(nproc_per_node=2), 0, space)
    ended(space, 0, f"5.0 1 {launch}")
    assert looked(found, clock) == [None] * 4
    ended(space, 0, "5.0 1 17.1.2")
    assert looked(found, clock)[-1].exit_code == 1


def test_what_a_script_writes_among_the_ranks_is_no_end_of_one(make_job, space, clock):
    found = Fallen(make_job(nproc_per_node=2), 0, space)
    (space.boxed_ranks / "rank-0.end").symlink_to("/etc/passwd")
    (space.boxed_ranks / "rank-x.end").write_text("5.0 1 17.0\n")
    (space.boxed_ranks / "rank-1.end").write_bytes(b"5.0 one 17.0\n\xff\n")
    assert looked(found, clock) == [None] * 4


def test_of_a_launch_the_first_failure_counts():
    ends = [
        ("7.0", RankEnd(rank=rank, at=at, exit_code=code))
        for rank, at, code in ((0, 2.0, 1), (1, 1.0, -9), (2, 0.5, 0))
    ]
    assert partly_failed(ends, 4)["7.0"].rank == 1
    assert partly_failed(ends, 3) == {}

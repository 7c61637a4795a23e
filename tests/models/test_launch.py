"""Which launches are taken for what they are, and which are refused."""

from __future__ import annotations

import pytest

WORKER = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
PLAN = {"NNODES": "2", "NPROC_PER_NODE": "2"}


@pytest.fixture
def launch(load):
    return load("launch")


def test_a_worker_knows_its_place(launch):
    found = launch.read_launch(WORKER | PLAN)
    assert (found.rank, found.size, found.local_rank, found.local_size, found.node) == (3, 4, 1, 2, 1)


def test_the_runner_may_say_which_node_it_is(launch):
    assert launch.read_launch(WORKER | {"GROUP_RANK": "0"}).node == 0


def test_plain_python_is_a_world_of_one(launch):
    assert launch.read_launch({}).size == 1
    assert launch.read_launch({"NNODES": "1", "NPROC_PER_NODE": "1", "WORLD_SIZE": "1"}).size == 1


@pytest.mark.parametrize(
    ("env", "text"),
    [
        (PLAN | {"WORLD_SIZE": "4"}, "no RANK is set, but NNODES=2 x NPROC_PER_NODE=2 = 4 processes"),
        (WORKER | {"NNODES": "2", "NPROC_PER_NODE": "8"}, "WORLD_SIZE is 4, but NNODES=2 x NPROC_PER_NODE=8 = 16"),
        (WORKER | {"WORLD_SIZE": "1"} | PLAN, "WORLD_SIZE is 1, but"),
        (WORKER | {"RANK": "4"}, "RANK is 4; with WORLD_SIZE=4 it must be 0 to 3"),
        (WORKER | {"LOCAL_RANK": "2"}, "LOCAL_RANK is 2; with LOCAL_WORLD_SIZE=2 it must be 0 to 1"),
        (WORKER | {"RANK": "x"}, "RANK is 'x'; it must be a whole number"),
        ({"RANK": "0"}, "WORLD_SIZE is not set, although RANK=0 is"),
    ],
)
def test_a_launch_that_contradicts_itself_or_the_plan_is_refused(launch, env, text):
    with pytest.raises(launch.LaunchError) as refused:
        launch.read_launch(env)
    assert text in str(refused.value)

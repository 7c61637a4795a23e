"""NCCL is asked to say what it uses, unless somebody told it how to speak."""

import pytest

from madrun.planning.transport import transport_env, why_of


@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_several_ranks_on_gpus_write_what_they_use_into_files_of_their_own(make_job, vendor):
    env = transport_env(make_job(vendor=vendor, nproc_per_node=8), "/madrun", ("NCCL_SOCKET_IFNAME",))
    assert env == {
        "NCCL_DEBUG": "INFO",
        "NCCL_DEBUG_SUBSYS": "INIT,BOOTSTRAP,ENV",
        "NCCL_DEBUG_FILE": "/madrun/nccl/%h.%p.log",
    }


@pytest.mark.parametrize("given", ["NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS"])
def test_what_the_user_said_of_it_stands_alone(make_job, given):
    assert transport_env(make_job(vendor="amd", nnodes=2), "/madrun", (given,)) == {}


def test_one_rank_and_ranks_without_gpus_are_left_as_they_are(make_job):
    assert transport_env(make_job(vendor="amd"), "/madrun", ()) == {}
    assert transport_env(make_job(nnodes=2, nproc_per_node=8), "/madrun", ()) == {}


def test_whoever_asks_why_is_told_only_of_what_madrun_set(make_job):
    env = transport_env(make_job(vendor="amd", nnodes=2), "/madrun", ())
    assert set(why_of(env | {"NODE_RANK": "0"})) == set(env)
    assert why_of({"NCCL_DEBUG": "INFO", "NCCL_DEBUG_FILE": "/tmp/nccl.log"}) == {}

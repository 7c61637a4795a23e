"""The doctor's programs take the place of the card's script, and nothing else of its run changes."""

from dataclasses import replace

import pytest

from madrun.doctor.trial import ALL_REDUCE, LOOK, PROGRAMS, as_trial, attempt
from madrun.node.channel.link import SoloLink
from madrun.node.joining.join import Party
from madrun.node.joining.judges import JUDGES
from madrun.node.task import Interrupt
from madrun.spec.card import Metric
from madrun.spec.plan import BOX, RUN_DIR, Container, DataPlan, Mount


def test_the_script_is_the_doctors_and_the_environment_the_cards(make_task):
    task = make_task(env={"A": "b"}, metrics={"tok": Metric()}, args="--long", timeout_s=9.0)
    trial = as_trial(task, ALL_REDUCE, "doctor")
    job = trial.plan.job
    assert (job.script, job.args, job.metrics, job.card) == (ALL_REDUCE, "", {}, "doctor")
    assert "the card itself" not in job.driver
    assert "$MULTI_NODE_RUNNER ./all_reduce.py" in job.driver
    assert (job.env, job.image, job.runner, job.nnodes) == (task.plan.job.env, task.plan.job.image, "plain", 1)
    assert trial.plan.node.process.env == task.plan.node.process.env
    assert set(trial.files) == {path.name for path in PROGRAMS.iterdir() if path.is_file()}
    assert trial.unmeasured


def test_of_the_container_stay_the_users_mounts_devices_and_limits_and_data_do_not(make_task):
    mounts = (
        Mount(source=f"{RUN_DIR}/node-0/box", target=BOX),
        Mount(source="/nfs/corpus", target="/data_0"),
        Mount(source=f"{RUN_DIR}/node-0/box/work/scripts", target="/workspace/scripts"),
        Mount(source="/opt/rocm", target="/opt/rocm"),
    )
    container = Container(
        name="madrun-{run_id}-n0",
        image="image",
        entrypoint=("bash",),
        command=(f"{BOX}/driver.sh",),
        workdir="/workspace",
        env={"MAD_DATAHOME": "/data_0", "A": "b"},
        mounts=mounts,
        labels={},
        network="host",
        ipc="private",
        shm_size=1 << 30,
        ulimits={"memlock": -1},
    )
    task = make_task(data=(DataPlan(name="corpus", provider="local", home="/data_0"),), runtime="docker")
    node = replace(task.plan.node, container=container, process=None, data_sources={"corpus": "/nfs/corpus"})
    trial = as_trial(replace(task, plan=replace(task.plan, nodes=(node,))), LOOK, "doctor").plan
    assert [mount.target for mount in trial.node.container.mounts] == [BOX, "/opt/rocm"]
    assert trial.node.container.env == {"A": "b"}
    assert trial.node.container.workdir == f"{BOX}/work"
    assert (trial.node.container.shm_size, trial.node.container.ulimits) == (container.shm_size, container.ulimits)
    assert (trial.job.data, trial.node.data_sources) == ((), {})


@pytest.mark.slow
def test_what_the_program_printed_comes_back_and_what_failed_is_told_in_a_sentence(make_task, reporter):
    trial = as_trial(make_task(), LOOK, "doctor")
    tried = attempt(trial, Party(SoloLink(JUDGES)), Interrupt(), reporter)
    assert tried.failure == ""
    assert any(line.startswith("madrun-doctor nofile ") for line in tried.lines)
    broken = replace(trial, plan=replace(trial.plan, job=replace(trial.plan.job, script_hash="0" * 64)))
    tried = attempt(broken, Party(SoloLink(JUDGES)), Interrupt(), reporter)
    assert "changed since the plan was made" in tried.failure
    assert tried.lines == ()

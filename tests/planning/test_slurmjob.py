"""A container of a SLURM job: where it belongs, what finds it again, and what is said where it cannot belong there."""

from dataclasses import replace

import pytest

from madrun.planning.container import plan_container
from madrun.planning.devices import Chosen
from madrun.spec.context import Context
from madrun.spec.facts import Engine
from madrun.spec.plan import ImagePlan

DOCKER = Engine(name="docker", version="27", cgroup_driver="cgroupfs")
JOB = {"slurm_job": "17", "slurm_cgroup": "/slurm/uid_0/job_17"}


@pytest.fixture
def planned(make_job, make_facts, make_topology):
    def plan(engine=DOCKER, context=None, **facts):
        job = make_job(runtime=engine.name, image=ImagePlan(kind="ready", name="img:1"))
        chosen = Chosen(facts=make_facts(engine=engine, **(JOB | facts)))
        return plan_container(job, context or Context(), chosen, make_topology(), ({}, ()))

    return plan


def test_it_is_made_in_the_jobs_cgroup_and_bears_its_number(planned):
    container, notes = planned()
    assert (container.cgroup_parent, container.labels["madrun.slurm.job"]) == ("/slurm/uid_0/job_17", "17")
    assert notes == ()


def test_outside_of_slurm_nothing_is_said_of_it(planned):
    container, notes = planned(slurm_job="", slurm_cgroup="")
    assert (container.cgroup_parent, notes) == ("", ())
    assert "madrun.slurm.job" not in container.labels


@pytest.mark.parametrize(
    ("engine", "facts", "why"),
    [
        (replace(DOCKER, cgroup_driver="systemd"), {}, "the engine's cgroup driver is systemd, which takes systemd's"),
        (replace(DOCKER, cgroup_driver=""), {}, "the engine's cgroup driver is not known"),
        (replace(DOCKER, rootless=True), {}, "a rootless engine may not make cgroups there"),
        (Engine(name="podman", version="4"), {}, "podman is not told so by madrun"),
        (DOCKER, {"slurm_cgroup": ""}, "this process is in no cgroup of the job"),
    ],
)
def test_where_that_cannot_be_a_note_says_why_and_the_label_stays(planned, engine, facts, why):
    container, notes = planned(engine, **facts)
    assert (container.cgroup_parent, container.labels["madrun.slurm.job"]) == ("", "17")
    assert f"the limits that SLURM job 17 has do not hold for its container: {why}" in notes[-1]


def test_the_user_may_leave_it_out_or_name_another(planned):
    assert planned(context=Context(docker_drop=("cgroup",)))[0].cgroup_parent == ""
    for option in ("--cgroup-parent /mine", "--cgroup-parent=/mine"):
        container, notes = planned(context=Context(additional_docker_run_options=option))
        assert (container.cgroup_parent, notes) == ("", ())

"""The SLURM job of this process, by its variables and by the kernel's list of its cgroups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.slurmjob import cgroup_in, job_cgroup, job_id

# Of a task on SLURM 22.05 with ProctrackType=proctrack/cgroup, on a host with version 1 and with version 2.
VERSION_1 = """\
6:freezer:/slurm_n1/uid_0/job_17/step_0
5:devices:/
4:memory:/slurm_n1/uid_0/job_17/step_0/task_0
1:cpu:/
0::/
"""
VERSION_2 = "0::/system.slice/slurmstepd.scope/job_17/step_0/user/task_0\n"
NAMES = st.text(st.characters(exclude_characters=":/\n", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)


@pytest.mark.parametrize(
    ("text", "cgroup"),
    [
        (VERSION_1, "/slurm_n1/uid_0/job_17"),
        (VERSION_2, "/system.slice/slurmstepd.scope/job_17"),
        ("4:memory:/docker/5c55\n0::/\n", ""),
        ("0::/system.slice/slurmstepd.scope/job_170/step_0\n", ""),
        ("", ""),
    ],
)
def test_the_jobs_cgroup_is_that_above_its_steps(text, cgroup):
    assert cgroup_in(text, "17") == cgroup


def test_of_several_hierarchies_that_of_memory_counts():
    assert cgroup_in("9:freezer:/a/job_5/step_0\n4:hugetlb,memory:/b/job_5/step_0\n", "5") == "/b/job_5"
    assert cgroup_in("9:freezer:/a/job_5/step_0\n4:memory:/\n", "5") == "/a/job_5"


@given(st.lists(NAMES.filter(lambda name: name != "job_5")), st.lists(NAMES), st.sampled_from(["", "memory", "cpu"]))
def test_what_is_found_begins_the_path_and_ends_with_the_job(above, below, controllers):
    path = "/" + "/".join([*above, "job_5", *below])
    found = cgroup_in(f"3:{controllers}:{path}\n", "5")
    assert path.startswith(found)
    assert found.endswith("/job_5")


@given(st.text())
def test_any_text_has_a_cgroup_of_the_job_or_none(text):
    found = cgroup_in(text, "5")
    assert found == "" or found.split("/")[-1] == "job_5"


@pytest.mark.parametrize(
    ("env", "number"),
    [({"SLURM_JOB_ID": "17"}, "17"), ({}, ""), ({"SLURM_JOB_ID": "17; rm"}, ""), ({"SLURM_JOB_ID": "²"}, "")],
)
def test_the_number_of_the_job_is_a_number(env, number):
    assert job_id(env) == number


def test_without_a_job_or_a_file_there_is_no_cgroup(tmp_path):
    (tmp_path / "cgroup").write_text(VERSION_2)
    assert job_cgroup("17", tmp_path / "cgroup") == "/system.slice/slurmstepd.scope/job_17"
    assert job_cgroup("", tmp_path / "cgroup") == ""
    assert job_cgroup("17", tmp_path / "none") == ""

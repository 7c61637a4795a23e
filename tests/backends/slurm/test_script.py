"""The job's script and the tasks', by golden files, by shellcheck, and by what they must hold."""

import shutil
import subprocess

import pytest

from madrun.backends.slurm import backend
from madrun.backends.slurm.header import overruling
from madrun.backends.slurm.settings import read
from madrun.errors import ContextError

GOLDEN = {
    "plain": ({}, {}),
    "site": (
        {
            **{"partition": "gpu", "account": "proj", "qos": "long", "time": "1h30m", "gpus_per_node": "mi300x:8"},
            **{"constraint": "mi300x&ib", "reservation": "r1", "nodelist": "n[1-4]", "exclude": "n3"},
            **{"cpus_per_task": 96, "comment": 'a "quoted" comment', "mail_type": "END", "mail_user": "me@x.org"},
            **{"sbatch": ["--licenses=a:1", "--dependency afterok:7"], "srun": ["--network=single"], "nodes": 2},
            **{"modules": ["rocm/6.4"], "network_interface": "ib0", "output_dir": "./slurm_results"},
        },
        {"master_addr": "10.0.0.5", "folder": "/home/a b/50%/L", "cards": ("mad/one",)},
    ),
    "requeue": ({"requeue": True, "exclusive": False, "mem": "64G", "gpus_per_node": 8, "gpus": "gres"}, {}),
    "one": (
        {"nodes": 1, "exclusive": "user", "signal_s": 0, "gpus_per_node": 1, "gpus": "gpus_per_task"},
        {"nnodes": 1},
    ),
}


def rendered(launch, values, changes):
    settings, count = read(values, changes.get("nnodes", 2), {})
    return backend.render(launch(backend="slurm", **{"nnodes": count, **changes}), settings)


@pytest.fixture
def suite(launch):
    """Of a job that runs a command of its own on its first node."""
    settings, _ = read({"partition": "gpu"}, 4, {})
    words = ("/usr/bin/python3", "-m", "madrun", "suite", "a b.yaml")
    return backend.render_body(launch(backend="slurm", nnodes=4), settings, words)


@pytest.fixture
def array(launch):
    """Of an array of two cases."""
    settings, _ = read({"array_limit": 1}, 2, {})
    cases = [launch(backend="slurm", folder=f"/repo/results/launches/case {number}") for number in range(2)]
    return backend.render_array(cases, settings)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_files_are_those_that_were_looked_at(launch, golden, name):
    golden(name, rendered(launch, *GOLDEN[name]))


def test_the_files_of_suites_and_arrays_are_those_that_were_looked_at(golden, suite, array):
    golden("suite", suite)
    golden("array", array)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here")
@pytest.mark.slow
def test_no_script_has_anything_that_shellcheck_speaks_of(launch, tmp_path, suite, array):
    files = {name: rendered(launch, *GOLDEN[name]) for name in ("site", "requeue")} | {"suite": suite, "array": array}
    paths = []
    for name, texts in files.items():
        for file, text in texts.items():
            paths.append(tmp_path / f"{name}-{file}")
            paths[-1].write_text(text)
    done = subprocess.run(["shellcheck", "-x", *paths], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == []


def test_modules_and_interfaces_of_slurm_reach_the_nodes_script(launch):
    text = rendered(launch, {"modules": ["rocm/6.4"], "network_interface": "ib0"}, {})["node.sh"]
    assert "module load rocm/6.4" in text
    assert "--set multi_node_args.NCCL_SOCKET_IFNAME=ib0" in text


def test_a_node_that_is_a_container_already_encloses_nothing(launch):
    files = rendered(launch, {"containers": "apptainer"}, {})
    assert "--runtime process" in files["node.sh"]
    assert "exec setsid apptainer exec" in files["step.sh"]
    assert "--container-image=" in rendered(launch, {"containers": "pyxis"}, {})["job.sh"]


def test_what_would_overrule_the_script_is_known_by_its_lines(launch):
    names = overruling(rendered(launch, {"partition": "gpu", "time": "1h", "exclusive": False}, {})["job.sh"])
    assert {"SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SBATCH_JOB_NAME", "SBATCH_NO_REQUEUE"} <= set(names)
    assert "SBATCH_QOS" not in names


def test_an_array_is_of_one_number_of_nodes(launch):
    settings, _ = read({}, 2, {})
    cases = [launch(backend="slurm", nnodes=count) for count in (2, 4)]
    with pytest.raises(ContextError, match=r"--array: found cases of 2, 4 nodes, allowed: one number for all"):
        backend.render_array(cases, settings)


def test_an_array_is_of_one_image_and_one_master(launch):
    settings, _ = read({"containers": "pyxis"}, 2, {})
    cases = [launch(backend="slurm", images={"cpu": f"example/one:{number}"}) for number in (1, 2)]
    with pytest.raises(ContextError, match=r"--array: found cases of several images or MASTER_ADDR"):
        backend.render_array(cases, settings)
    assert "example/one:1" in backend.render_array([cases[0]] * 2, settings)["job.sh"]

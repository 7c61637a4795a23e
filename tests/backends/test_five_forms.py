"""One plan in five forms: what each node runs, derived from the rendered files, is the same under every backend."""

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from forms import FORMS, NODES, start, words_of

from madrun.cli.app import run

CONTEXT = """multi_node_args: {MASTER_PORT: 29733, RUNNER: torchrun%s}
docker_env_vars: {NCCL_DEBUG: INFO, ODD: "it's $HOME \\"here\\""}
"""
ARGS = "--lr 1 --name 'a b'"

# What a form must have of its own. The launch's name says by which backend, and each render is a launch of its own.
EXPECTED = {
    "MADRUN_LAUNCH",  # `BACKEND:ID`
    "MADRUN_COMMAND",  # what to type again: of Compose and SkyPilot the script that brings all up
    "MADRUN_SECRET",  # made anew for each launch
    "MADRUN_MASTER_ADDR",  # each backend names node 0 as its nodes can reach it
    "MADRUN_LEASE",  # ssh alone holds its nodes by their standard input
    "MADRUN_PROGRAM",  # where the nodes have madrun, the repository and the results, if not where they are here
    "MADRUN_REPOSITORY",
    "MADRUN_RESULTS",
    "MADRUN_NAMESPACE",  # Kubernetes' way to a pod's own name space
}
# Of the node's own part of the plan: Compose's user and SkyPilot's machines have homes of their own.
OWN_HOME = {"HOME", "USER", "LOGNAME", "PATH"}


class InDirectory:
    """This process in another directory and environment, with what it prints."""

    def __init__(self, folder, env):
        self.folder, self.env, self.out = folder, env, io.StringIO()
        self.err = io.StringIO()

    def run(self, words):
        before = dict(os.environ), Path.cwd()
        try:
            os.environ.clear()
            os.environ.update(self.env)
            os.chdir(self.folder)
            with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.err):
                code = run(words)
        finally:
            os.environ.clear()
            os.environ.update(before[0])
            os.chdir(before[1])
        assert code == 0, self.err.getvalue()
        return self.out.getvalue()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Renders a card in every form, starts all nodes of each; how madrun was started, by form and rank."""
    home = tmp_path_factory.mktemp("five")
    repository = home / "repo"
    (repository / "models/one").mkdir(parents=True)
    (repository / "models/one/run.sh").write_text("echo performance: 5 tok\n")
    card = "name: one\nscript: run.sh\nimages: {cpu: {image: example/one:1}}\n"
    (repository / "models/one/model.yaml").write_text(card)
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def render(name, more=""):
        found = {}
        (home / f"{name}.yaml").write_text(CONTEXT % more)
        for form in FORMS:
            folder = home / name / form
            words = ["--tags", "one", "--runtime", "process", "-f", str(home / f"{name}.yaml"), "--arg", ARGS]
            words += ["--to", str(folder), *words_of(form, repository)]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "executable", "/none/python")  # nodes take the madrun on their PATH
                InDirectory(repository, env).run(["render", *words])
            place = home / f"engine-{name}-{form}"
            found[form] = start(form, folder, repository, place)
        return repository, found

    return render


@pytest.fixture(scope="module")
def found(rendered):
    """Of nodes whose backend finds the master."""
    return rendered("found")[1]


@pytest.fixture(scope="module")
def given(rendered):
    """Of nodes whose master the user has named."""
    return rendered("given", ", MASTER_ADDR: 127.0.0.1")


pytestmark = pytest.mark.slow


def own(record):
    return {name: value for name, value in record["env"].items() if name.startswith("MADRUN_")}


def test_every_form_starts_each_rank_once(found):
    for form, records in found.items():
        assert [own(record)["MADRUN_NODE_RANK"] for record in records] == ["0", "1"], form
        assert {own(record)["MADRUN_NNODES"] for record in records} == {str(NODES)}, form


def test_all_forms_give_the_nodes_the_same_variables_but_those_that_are_named_here(found):
    ssh = found["ssh"]
    for form, records in found.items():
        for rank in range(NODES):
            ours, theirs = own(ssh[rank]), own(records[rank])
            differing = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
            assert differing <= EXPECTED, form


def test_all_forms_start_madrun_with_the_same_words(found):
    for form, records in found.items():
        for record in records:
            words = record["words"]
            place = words.index("--additional-context-file")
            assert Path(words[place + 1]).name == "additional-context-file.yaml", form
            results = words.index("--results")
            del words[results : results + 2]
            del words[place : place + 2]
            while "--set" in words:  # what the form itself was told, which means nothing on the nodes
                place = words.index("--set")
                assert words[place + 1] in FORMS[form][0] or words[place + 1].startswith("kubernetes."), form
                del words[place : place + 2]
            enclosed = ["--runtime", "process"] if form not in ("ssh", "slurm") else []
            assert words == ["run", "--tags", "one", "--arg", ARGS, "--runtime", "process", *enclosed], form


MASTERS = {
    "ssh": "h0",  # the first host, by the name that the user has for it
    "slurm": "10.0.0.1",  # the address of the allocation's first node
    "compose": "node-0",  # the name of the service
    "skypilot": "10.0.0.1",  # the first of SKYPILOT_NODE_IPS
}


def test_each_form_has_one_master_which_is_node_0(found):
    for form, records in found.items():
        (master,) = {own(record)["MADRUN_MASTER_ADDR"] for record in records}
        if form in MASTERS:
            assert master == MASTERS[form]
            continue
        # A pod's host name in its headless Service: `<job>-<index>.<subdomain>.<namespace>.svc`.
        host, service, *rest = master.split(".")
        assert host.startswith(service), form
        assert host.endswith("-0"), form
        assert rest == ["default", "svc"], form


def plan_of(record):
    """What `madrun plan` says on that node, started as its run is."""
    words = ["plan", *record["words"][1:], "--json"]
    kept = ("MADRUN_", "SLURM_", "JOB_", "SKYPILOT_")
    env = {name: value for name, value in record["env"].items() if name.startswith(kept)}
    env |= {"PATH": os.environ["PATH"], "HOME": record["env"].get("HOME", "/nowhere")}
    return json.loads(InDirectory(record["cwd"], env).run(words))


@pytest.fixture(scope="module")
def plans(given):
    """Of every form and rank."""
    return {form: [plan_of(record) for record in records] for form, records in given[1].items()}


def test_the_job_is_the_same_in_all_forms_and_on_all_nodes(plans):
    jobs = {form: [plan["job"] for plan in of_form] for form, of_form in plans.items()}
    for form, of_form in jobs.items():
        assert of_form == jobs["ssh"], form
    assert len({plan["job_hash"] for of_form in plans.values() for plan in of_form}) == 1
    job = jobs["ssh"][0]
    assert (job["args"], job["nnodes"]) == (f" {ARGS}", NODES)
    assert job["env"]["ODD"] == 'it\'s $HOME "here"'
    assert re.search(r"bash ./run.sh +--lr 1 --name 'a b'\n", job["driver"])


def test_ranks_environment_and_runner_line_are_the_same_in_all_forms(plans):
    for rank in range(NODES):
        nodes = {form: of_form[rank]["nodes"][0] for form, of_form in plans.items()}
        for form, node in nodes.items():
            assert node["node_rank"] == rank, form
            env = {name: value for name, value in node["process"]["env"].items() if name not in OWN_HOME}
            first = {n: value for n, value in nodes["ssh"]["process"]["env"].items() if n not in OWN_HOME}
            assert env == first, form
            assert node["process"]["command"] == nodes["ssh"]["process"]["command"], form
        env = nodes["ssh"]["process"]["env"]
        assert env["NODE_RANK"] == str(rank)
        assert env["MULTI_NODE_RUNNER"] == (
            f"torchrun --nnodes 2 --node_rank {rank} --nproc_per_node 1 --master_addr 127.0.0.1 --master_port 29733"
        )

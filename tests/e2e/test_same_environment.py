"""The same card by ssh, by SLURM and by Compose: what its script sees in the running containers is compared."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import Any

import pytest
from e2e_parts import until
from inside import environment_of
from slurm_nodes import Cluster
from ssh_nodes import SshBed
from three_nodes import Node, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
MARK = "same-environment"
# What the script's arguments were is a variable of its last process.
SCRIPT = f'export SEEN_ARGUMENTS="$*"\nexec -a {MARK} sleep 600\n'
CONTEXT = "{'multi_node_args': {'MASTER_PORT': 29755, 'NPROC_PER_NODE': 2}, 'docker_env_vars': {'ODD': '$b \"c\"'}}"
WORDS = ("--tags", "pair", "-c", CONTEXT, "--arg", "--lr '1 2'")

# What differs between the three, and why.
OWN = {
    "MADRUN_RUN_ID",  # each is a run of its own
    "MADRUN_BOX",  # where the run directory is seen
    "MASTER_ADDR",  # the networks of the three are not the same, nor are
    "NCCL_SOCKET_IFNAME",  # the interfaces of their hosts
    "GLOO_SOCKET_IFNAME",
    "TP_SOCKET_IFNAME",
    "MULTI_NODE_RUNNER",  # has MASTER_ADDR in it
    "MAD_MULTI_NODE_RUNNER",
    "HOSTNAME",
    "HOME",  # set by the engine, out of the image's users; the images of the beds are not one
}
# Of Compose alone: its container is the user's own, and madrun runs in it as a process of that user. Names of what
# belongs to a login and to the image; madrun gives none of them to a container that it makes.
ENCLOSED = {"USER", "LOGNAME", "PATH", "LANG", "LC_CTYPE", "PWD", "SHLVL", "OLDPWD", "_", "PYTHON_EXEC", "MADRUN_OWNER"}

Seen = list[tuple[dict[str, str], str]]  # by rank: the environment, and the script's arguments


def seen_of(pid: int) -> tuple[dict[str, str], str]:
    env = environment_of(pid)
    return env, env.pop("SEEN_ARGUMENTS")


def in_nodes(nodes: list[Node], started: Started) -> Seen:
    """What the script of each node sees, once it runs on all of them."""

    def runs() -> bool:
        assert started.child.poll() is None, started.output
        return all(node.processes(MARK) for node in nodes)

    until(runs, 60, "the script on all nodes")
    return [seen_of(max(node.processes(MARK))) for node in nodes]


def seen_by_ssh(bed: SshBed) -> Seen:
    bed.add("pair", SCRIPT)
    for node in bed.nodes[:2]:
        node.load_job()
    started = bed.madrun("run", *WORDS, "--on", "ssh", "--hosts", "n0,n1")
    seen = in_nodes(bed.nodes[:2], started)
    started.signal(signal.SIGINT)
    assert started.wait(60) == 130, started.output
    bed.gone()
    return seen


def seen_by_slurm(cluster: Cluster) -> Seen:
    cluster.add("pair", SCRIPT)
    started = cluster.madrun("run", *WORDS, "--on", "slurm", "--nodes", "2")
    seen = in_nodes(cluster.nodes[:2], started)
    started.signal(signal.SIGINT)
    assert started.wait(120) == 130, started.output
    cluster.until_nothing_left()
    return seen


def seen_by_compose(repository: Any, engine: Any) -> Seen:
    repository.add("pair", SCRIPT)
    words = ("render", *WORDS, "--on", "compose", "--nodes", "2", "--to", "up")
    done = repository.run(*words)
    assert done.returncode == 0, done.stderr
    up = subprocess.Popen(
        ["sh", "up/up.sh"],
        cwd=repository.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    repository.started.append(up)

    def pid_of(rank: int) -> int:
        wanted = {"label": [f"madrun.node={rank}", f"madrun.launch={launch}"]}
        for one in engine.containers(filters=wanted):
            for pid, words in engine.top(one["Id"], "-o pid,args")["Processes"]:
                if words.startswith(MARK):
                    return int(pid)
        return 0

    launch = re.findall(r"Launch (\S+)\.", (repository.folder / "up/compose.yaml").read_text())[0]
    until(lambda: bool(pid_of(0) and pid_of(1)), 60, "the script in both services")
    seen = [seen_of(pid_of(rank)) for rank in (0, 1)]
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(120) == 130
    assert not engine.containers(all=True, filters={"label": f"madrun.launch={launch}"})
    return seen


def test_scripts_see_the_same_ranks_environment_and_arguments(
    by_ssh: SshBed, slurm: Cluster, docker_repository: Any, engine: Any
) -> None:
    seen = {
        "ssh": seen_by_ssh(by_ssh),
        "slurm": seen_by_slurm(slurm),
        "compose": seen_by_compose(docker_repository, engine),
    }
    for form, nodes in seen.items():
        for rank, (env, arguments) in enumerate(nodes):
            assert arguments == "--lr 1 2", form
            assert (env["NODE_RANK"], env["NNODES"], env["NPROC_PER_NODE"]) == (str(rank), "2", "2"), form
            assert (env["MASTER_PORT"], env["ODD"]) == ("29755", '$b "c"'), form
            assert env["MASTER_ADDR"] in env["MULTI_NODE_RUNNER"], form
            assert not [name for name in env if "SECRET" in name], form
            ours, own = seen["ssh"][rank][0], OWN | (ENCLOSED if form == "compose" else set())
            differing = {name for name in {*ours, *env} if ours.get(name) != env.get(name)}
            assert differing <= own, (form, {name: (ours.get(name), env.get(name)) for name in differing - own})
        assert len({env["MASTER_ADDR"] for env, _ in nodes}) == 1, form
        assert "RANK" not in nodes[0][0], form  # which is the runner's to set
        lines = [env["MULTI_NODE_RUNNER"].replace(env["MASTER_ADDR"], "M") for env, _ in nodes]
        assert [line.replace(f"--node_rank {rank}", "--node_rank R") for rank, line in enumerate(lines)] == [
            "torchrun --nnodes 2 --node_rank R --nproc_per_node 2 --master_addr M --master_port 29755"
        ] * 2

"""deepspeed in the form in which every node starts its own ranks, without ssh.

With `--no_ssh` too it takes the nodes from a hostfile, and without one refuses several nodes (deepspeed/launcher/
runner.py of DeepSpeed 0.19, `main`). So it is told of one that says what is planned; /job/hostfile, which it would look
for, is never read. `--no_python` with `madrun-python` in front of the script: it starts what deepspeed itself would
start, with the rank's output kept apart.
"""

from __future__ import annotations

from madrun.spec.plan import JobPlan
from madrun.spec.topology import Starting, Topology

PROGRAMS = ("deepspeed",)
START_RANK = "madrun-python"
HOSTFILE = "deepspeed-hosts"
OWNS = (
    "-H",
    "--hostfile",
    "-i",
    "--include",
    "-e",
    "--exclude",
    "--num_nodes",
    "--num_gpus",
    "--num_accelerators",
    "--node_rank",
    "--master_addr",
    "--master_port",
    "--launcher",
    "--launcher_args",
    "--no_ssh",
    "--no_ssh_check",
    "--force_multi",
    "--ssh_port",
    "--no_python",
    "--module",
    "--no_local_rank",
    "--autotuning",
)


def command(topology: Topology, starting: Starting) -> str:
    """Plain words only; the ranks get LOCAL_RANK as a variable, and no argument that only deepspeed gives."""
    words = [
        *("deepspeed", "--hostfile", f"{starting.box}/{HOSTFILE}", "--no_ssh", "--node_rank", topology.node_rank),
        *("--master_addr", topology.master_addr, "--master_port", topology.master_port),
        *("--no_local_rank", *starting.args, "--no_python", "bash", START_RANK),
    ]
    return " ".join(map(str, words))


def settings(_topology: Topology, starting: Starting) -> dict[str, str]:
    """The file for ZeRO and the like, where one was given; on CPUs the accelerator's name, which it would guess."""
    config = {"DEEPSPEED_CONFIG": starting.config} if starting.config else {}
    return config | ({"DS_ACCELERATOR": "cpu"} if starting.vendor == "cpu" else {})


def files(job: JobPlan) -> dict[str, str]:
    """The hostfile; deepspeed counts its lines and takes its own by the node's rank, so that names mean nothing."""
    return {HOSTFILE: "".join(f"node-{rank} slots={job.nproc_per_node}\n" for rank in range(job.nnodes))}

"""accelerate of Hugging Face: every node starts its own ranks, by torchrun with static rendezvous inside accelerate.

Which options start how many processes: accelerate/commands/launch.py (`_validate_launch_command`, `launch_command`)
and accelerate/utils/launch.py (`prepare_multi_gpu_env`) of accelerate 1.15. `--cpu` would start one process alone; so
ranks on CPUs are started as those on GPUs are, and ACCELERATE_USE_CPU says to each that it shall use no GPU.
"""

from __future__ import annotations

from madrun.spec.topology import Starting, Topology

STARTER = "PYTHON_EXEC"  # read by torch.distributed.run, which accelerate calls
PROGRAMS = ("accelerate",)
OWNS = (
    "--num_processes",
    "--num_machines",
    "--machine_rank",
    "--main_process_ip",
    "--main_process_port",
    "--rdzv_backend",
    "--rdzv_conf",
    "--same_network",
    "--config_file",
    "--cpu",
    "--multi_gpu",
    "--tpu",
    "--gpu_ids",
    "--mpirun_hostfile",
    "--deepspeed_hostfile",
    "--deepspeed_multinode_launcher",
)
# What starts the ranks in another way than `--multi_gpu`, and may not stand beside it.
PARADIGMS = ("--use_deepspeed", "--use_fsdp", "--use_megatron_lm")


def command(topology: Topology, starting: Starting) -> str:
    """Plain words only. Without a file of the user everything that accelerate would take from one is said."""
    words = [
        *("accelerate", "launch", "--num_processes", topology.world_size, "--num_machines", topology.nnodes),
        *("--machine_rank", topology.node_rank),
        *("--main_process_ip", topology.master_addr, "--main_process_port", topology.master_port),
        *("--rdzv_backend", "static", "--same_network"),
        *_mode(topology, starting),
        *_defaults(starting),
        *starting.args,
    ]
    return " ".join(map(str, words))


def _mode(topology: Topology, starting: Starting) -> tuple[str, ...]:
    """What makes accelerate start as many ranks as are planned; a single one it starts without a rank's variables."""
    given = {word.replace("-", "_").replace("__", "--", 1) for word in starting.args}
    if "--use_deepspeed" in given:
        # Its default starts the other nodes by pdsh; `standard` starts the ranks of this node by torchrun.
        return ("--deepspeed_multinode_launcher", "standard")
    if given & {*PARADIGMS}:
        return ()
    if topology.world_size > 1:
        return ("--multi_gpu",)
    return ("--cpu",) if starting.vendor == "cpu" else ()


def _defaults(starting: Starting) -> tuple[str, ...]:
    """Else it would warn of each that is missing, and hear a file that the image happens to have."""
    if starting.config:
        return ("--config_file", starting.config)
    return ("--mixed_precision", "no", "--dynamo_backend", "no", "--gpu_ids", "all")


def settings(_topology: Topology, starting: Starting) -> dict[str, str]:
    """On CPUs alone: the variable by which accelerate in each rank chooses CPU and Gloo."""
    return {"ACCELERATE_USE_CPU": "true"} if starting.vendor == "cpu" else {}

"""A runner's own configuration file: what it says that the plan says too, and what of it starts the ranks.

Keys of accelerate's file: accelerate/commands/config/config_args.py (ClusterConfig) of accelerate 1.15. DeepSpeed's
holds nothing of nodes or ranks: www.deepspeed.ai/docs/config-json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from madrun.errors import ContextError
from madrun.spec.context import MultiNodeArgs
from madrun.spec.plan import CONFIG
from madrun.spec.topology import Topology

# What of `distributed_type` is started in a way of its own, and the option that says so.
_PARADIGMS = {"DEEPSPEED": "--use_deepspeed", "FSDP": "--use_fsdp", "MEGATRON_LM": "--use_megatron_lm"}
_NOT_HERE = ("TPU", "XLA")
_BACKEND, _LAUNCHER = "static", "standard"
_Found = tuple[str, Any, str]  # key, what the file says, what is planned


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerFile:
    """The file that CONFIG_FILE names: where this host has it, hash of its bytes, what it holds.

    `suffix`: `.json` or `.yaml`, by which accelerate knows how to read it.
    """

    path: str
    suffix: str
    digest: str
    values: Mapping[str, Any]

    @property
    def box_name(self) -> str:
        """Its name in the box."""
        return f"{CONFIG}{self.suffix}"


def words_of_file(file: RunnerFile, runner: str) -> tuple[str, ...]:
    """The options of accelerate that choose how ranks are started as the file wants it."""
    kind = str(file.values.get("distributed_type", "")).upper()
    if runner != "accelerate" or kind not in _PARADIGMS:
        return ()
    more = ("--use_parallelism_config",) if file.values.get("parallelism_config") else ()
    return (_PARADIGMS[kind], *more)


def check_file(file: RunnerFile, args: MultiNodeArgs, topology: Topology, vendor: str) -> None:
    """`ContextError` with a line for each key of accelerate's file that says something else than the plan."""
    if args.RUNNER != "accelerate":
        return
    if "distributed_type" not in file.values:
        raise ContextError(
            f"multi_node_args.CONFIG_FILE: {file.path}: distributed_type is missing, without which accelerate refuses "
            "the file; give MULTI_GPU, FSDP, DEEPSPEED, MEGATRON_LM or MULTI_CPU"
        )
    found = [*_of_nodes(file.values, args, topology), *_of_ranks(file.values, topology, vendor)]
    if found:
        lines = "".join(f"\n  {key}: found {said!r}, planned: {planned}" for key, said, planned in found)
        raise ContextError(
            f"multi_node_args.CONFIG_FILE: {file.path} contradicts the plan; leave these keys out of it, or change "
            f"multi_node_args:{lines}"
        )


def _of_nodes(values: Mapping[str, Any], args: MultiNodeArgs, topology: Topology) -> Iterator[_Found]:
    """Keys that say who takes part and where they meet; -1 processes means that the command says how many."""
    planned: dict[str, tuple[object, ...]] = {
        "num_processes": (topology.world_size, -1),
        "num_machines": (topology.nnodes,),
        "machine_rank": (topology.node_rank,),
        "main_process_ip": (topology.master_addr, args.MASTER_ADDR),
        "main_process_port": (topology.master_port,),
        "rdzv_backend": (_BACKEND,),
    }
    keys = {
        "num_processes": f"NNODES {topology.nnodes} x NPROC_PER_NODE {topology.nproc_per_node}",
        "num_machines": "NNODES",
        "machine_rank": "NODE_RANK of this node; every node reads the same file",
        "main_process_ip": "MASTER_ADDR",
        "main_process_port": "MASTER_PORT",
        "rdzv_backend": "which keeps NODE_RANK",
    }
    for key, allowed in planned.items():
        said = values.get(key)
        if said is not None and str(said) not in map(str, allowed):
            yield key, said, f"{allowed[0]} ({keys[key]})"
    if topology.nnodes > 1 and values.get("same_network") is False:
        yield "same_network", False, "true (MASTER_ADDR is reached directly)"


def _of_ranks(values: Mapping[str, Any], topology: Topology, vendor: str) -> Iterator[_Found]:
    """Keys that say how the ranks of a node are started, and on what."""
    kind = str(values["distributed_type"]).upper()
    if kind in _NOT_HERE:
        yield "distributed_type", values["distributed_type"], f"ranks on {vendor}"
    if kind == "NO" and topology.world_size > 1:
        yield "distributed_type", values["distributed_type"], f"{topology.world_size} processes (MULTI_GPU, MULTI_CPU)"
    if vendor != "cpu" and (values.get("use_cpu") or kind == "MULTI_CPU"):
        key = "use_cpu" if values.get("use_cpu") else "distributed_type"
        yield key, values[key], f"the GPUs of this host ({vendor})"
    if str(values.get("compute_environment", "LOCAL_MACHINE")) != "LOCAL_MACHINE":
        yield "compute_environment", values["compute_environment"], "LOCAL_MACHINE"
    every = ",".join(map(str, range(topology.nproc_per_node)))
    ids = values.get("gpu_ids")
    if ids is not None and str(ids).replace(" ", "") not in ("all", every):
        yield "gpu_ids", ids, "all that the run gets (docker_gpus chooses them)"
    for part, key, allowed in (
        ("deepspeed_config", "deepspeed_multinode_launcher", _LAUNCHER),
        ("deepspeed_config", "deepspeed_hostfile", "none"),
        ("mpirun_config", "mpirun_hostfile", "none"),
    ):
        inner = values.get(part)
        said = inner.get(key) if isinstance(inner, Mapping) else None
        if said not in (None, "", allowed):
            yield f"{part}.{key}", said, f"{allowed} (every node starts its own ranks)"

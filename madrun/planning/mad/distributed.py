"""`distributed` of a MAD card or context: the launcher, and how many nodes and processes it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.errors import ContextError
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts
from madrun.spec.topology import Topology
from madrun.spec.validation import did_you_mean

BY_SCRIPT = "script"  # the runner of launchers that start their processes themselves
SELF_STARTING = ("vllm", "sglang", "sglang-disagg", "primus", "slurm_multi")
LIKE_TORCHRUN = ("torchrun", "megatron", "megatron-lm", "torchtitan", "none")
_OWN_WORDS = ("deepspeed", "mpirun", "accelerate")  # where a script's own words are given, these start nothing else
_KNOWN = ("launcher", "nnodes", "nproc_per_node", "backend", "port", "primus", "sglang_disagg", "vllm_disagg")
_MEETING = ("MASTER_ADDR", "NODE_RANK", "NNODES", "MASTER_PORT", "HOST_LIST")


def launcher_of(distributed: Mapping[str, Any]) -> str:
    """The launcher's name in its usual spelling; empty where none is named."""
    return (
        str((distributed.get("launcher") if isinstance(distributed, Mapping) else "") or "")
        .strip()
        .lower()
        .replace("sglang_disagg", "sglang-disagg")
    )


def runner_of(distributed: Mapping[str, Any]) -> str:
    """The runner that stands for the launcher; empty where none is named."""
    launcher = launcher_of(distributed)
    if not launcher or launcher in RUNNERS:
        return launcher
    return BY_SCRIPT if launcher in SELF_STARTING else "torchrun"


def args_of(merged: Mapping[str, Any], card: Card, scheduled: bool) -> tuple[dict[str, Any], list[str]]:
    """What `distributed` says in words of multi_node_args, below all that is said there; and notes.

    Nodes count only where the command says how they meet: a card for four nodes can be tried on one, and says so.
    """
    distributed, args = merged.get("distributed"), merged.get("multi_node_args", {})
    if not isinstance(distributed, dict) or not isinstance(args, dict) or card.mad is None:
        return {}, []
    variables, chosen = merged.get("docker_env_vars"), str(args.get("RUNNER"))  # of any shape: nobody has looked yet
    kept = isinstance(variables, dict) and MAD_RUNNER in variables  # then the words of the launcher are not madrun's
    if isinstance(variables, dict) and kept and chosen in RUNNERS and RUNNERS[chosen].head:
        raise ContextError(
            f"docker_env_vars.{MAD_RUNNER}: found {variables[MAD_RUNNER]!r} with multi_node_args."
            f"RUNNER {chosen!r}, which is started on node 0 alone while the other nodes wait for it; leave one "
            "of the two out"
        )
    runner = BY_SCRIPT if kept and launcher_of(distributed) in _OWN_WORDS else runner_of(distributed)
    found: dict[str, Any] = {"RUNNER": runner} if runner else {}
    notes = _unknown(distributed)
    nnodes = distributed.get("nnodes")
    if nnodes is not None and "NNODES" in args and str(args["NNODES"]) != str(nnodes):
        notes.append(f"distributed.nnodes {nnodes} has no effect: multi_node_args.NNODES is {args['NNODES']}")
    elif nnodes is not None and "NNODES" not in args and (scheduled or any(name in args for name in _MEETING)):
        found["NNODES"] = nnodes
    elif nnodes is not None and str(nnodes) != str(args.get("NNODES", 1)):
        notes.append(
            f"distributed.nnodes {nnodes}: this is a run on 1 node; for {nnodes} start it on each with multi_node_args "
            "(NNODES, NODE_RANK, MASTER_ADDR)"
        )
    several = str(args.get("NNODES", found.get("NNODES", 1))) != "1"
    if distributed.get("port") is not None and several:
        found["MASTER_PORT"] = distributed["port"]
    return found, notes


MAD_RUNNER = "MAD_MULTI_NODE_RUNNER"


def _unknown(distributed: Mapping[str, Any]) -> list[str]:
    launcher = launcher_of(distributed)
    notes = [
        f"distributed: unknown key {key} has no effect{did_you_mean(str(key), _KNOWN)}"
        for key in distributed
        if key not in _KNOWN
    ]
    if launcher and launcher not in (*RUNNERS, *LIKE_TORCHRUN, *SELF_STARTING):
        notes.append(f"distributed.launcher: {launcher!r} is not known; MAD_MULTI_NODE_RUNNER is that of torchrun")
    if distributed.get("backend"):
        notes.append(f"distributed.backend {distributed['backend']!r} has no effect: a script names its own to torch")
    return notes


def processes_of(context: Context, gpus: int, facts: HostFacts) -> tuple[int | None, str]:
    """Processes on this node where `distributed` says a number that can be had; else None, and the note that says why.

    `gpus`: how many GPUs the run gets here, 0 without.
    """
    said = context.distributed.get("nproc_per_node")
    given = context.multi_node_args.NPROC_PER_NODE
    if said is None:
        return None, ""
    try:
        wanted = int(said)
    except (TypeError, ValueError):
        wanted = 0
    if wanted < 1:
        raise ContextError(f"distributed.nproc_per_node: found {said!r}, allowed: a whole number from 1")
    if given is not None and given != wanted:
        return None, f"distributed.nproc_per_node {wanted} has no effect: multi_node_args.NPROC_PER_NODE is {given}"
    if facts.accelerator.count and wanted > gpus:
        return None, f"distributed.nproc_per_node {wanted}: this run has {gpus} GPUs here, and as many processes"
    return wanted, ""


def launcher_env(context: Context, topology: Topology) -> dict[str, str]:
    """The variables that scripts of the launcher read.

    `ContextError` where sglang runs on several nodes and nothing says where they are: without that its scripts
    fall back to one node, and say nothing.
    """
    distributed = context.distributed
    launcher = launcher_of(distributed)
    size = str(topology.nproc_per_node)
    if launcher == "vllm":
        return {"VLLM_TENSOR_PARALLEL_SIZE": size, "VLLM_PIPELINE_PARALLEL_SIZE": "1"}
    if launcher == "sglang":
        sizes = {"SGLANG_TENSOR_PARALLEL_SIZE": size, "SGLANG_PIPELINE_PARALLEL_SIZE": "1"}
        return sizes | _sglang_nodes(context, topology)
    if launcher == "sglang-disagg":
        parts = _map(distributed, "sglang_disagg")
        counts = {
            f"SGLANG_DISAGG_{key.upper()}": str(parts[key]) for key in ("prefill_nodes", "decode_nodes") if key in parts
        }
        fixed = {"SGLANG_DISAGG_MODE": "enabled", "SGLANG_TP_SIZE": size}
        return fixed | counts | _sglang_nodes(context, topology)
    return _primus(_map(distributed, "primus")) if launcher == "primus" else {}


def _sglang_nodes(context: Context, topology: Topology) -> dict[str, str]:
    known = context.docker_env_vars.get("SGLANG_NODE_IPS") or context.multi_node_args.HOST_LIST
    if topology.nnodes > 1 and not known:
        raise ContextError(
            "distributed.launcher sglang with several nodes: its scripts read SGLANG_NODE_IPS and take one node where "
            "it is missing; give multi_node_args.HOST_LIST, the nodes' addresses in the order of their ranks"
        )
    return {"SGLANG_NODE_IPS": known or topology.master_addr, "SGLANG_NODE_RANK": str(topology.node_rank)}


def _primus(said: Mapping[str, Any]) -> dict[str, str]:
    names = {"config_path": "PRIMUS_CONFIG_PATH", "cli_extra": "PRIMUS_CLI_EXTRA", "backend": "BACKEND"}
    return {names[key]: _text(value) for key, value in said.items() if key in names and value not in (None, "")}


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _map(distributed: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = distributed.get(key) or {}
    if not isinstance(value, Mapping):
        raise ContextError(f"distributed.{key}: found {value!r}, allowed: a map of names to values")
    return value

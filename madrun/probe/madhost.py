"""What the shell of this host says to cards of MAD repositories: the variables that they expect to be passed on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from madrun.spec.context import can_be_passed

_ARGS = (
    "NNODES",
    "NODE_RANK",
    "NPROC_PER_NODE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
)
_PASSED = (
    "MAD_MULTI_NODE_RUNNER",
    "MAD_COLLECT_METRICS",
    "NCCL_DEBUG",
    "NCCL_IB_DISABLE",
    "NCCL_NET_GDR_LEVEL",
    "TORCH_ELASTIC_RDZV_TIMEOUT",
    "MIOPEN_USER_DB_PATH",
    # counted by madrun itself: passed so far only that a contradiction is named
    "WORLD_SIZE",
    "RANK",
)
_LAUNCHERS = ("PRIMUS_", "SGLANG_", "VLLM_")  # what their scripts read where nothing else says it
# Names that look as if they were meant for a script. Those that choose GPUs have been heard before.
_MEANT = ("NCCL_", "RCCL_", "GLOO_", "TORCH_", "MIOPEN_", "RAY_", "HSA_", "MAD_MODEL_")


def said_by_host(env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The lowest layer of the context: variables, multi_node_args and the launcher; empty values say nothing.

    An empty MAD_MULTI_NODE_RUNNER is a value: that of launchers which need no runner.
    """
    passed = {name: value for name, value in env.items() if _is_passed(name) and _is_text(name, value)}
    args = {name: env[name] for name in _ARGS if env.get(name) and can_be_passed(env[name])}
    values: dict[str, Any] = {}
    if passed:
        values["docker_env_vars"] = passed
    if args:
        values["multi_node_args"] = args
    if env.get("MAD_LAUNCHER"):
        values["distributed"] = {"launcher": env["MAD_LAUNCHER"]}
    return values


def not_passed(env: Mapping[str, str] = os.environ) -> list[str]:
    """Variables of this host that look as if they were meant for a script, and that reach none."""
    known = (*_ARGS, *_PASSED)
    return sorted(name for name in env if name.startswith(_MEANT) and name not in known)


def _is_passed(name: str) -> bool:
    return name in _PASSED or name.startswith(_LAUNCHERS)


def _is_text(name: str, value: str) -> bool:
    return can_be_passed(name) and can_be_passed(value) and (bool(value) or name == "MAD_MULTI_NODE_RUNNER")

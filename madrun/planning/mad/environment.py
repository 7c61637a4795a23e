"""The variables that scripts of MAD repositories expect to find, beside those that every run has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from madrun.planning.devices import Chosen
from madrun.planning.mad.distributed import launcher_env
from madrun.spec.context import Context
from madrun.spec.facts import Accelerator
from madrun.spec.topology import Topology

_GUEST_OS = re.compile(r"#\s*CONTEXT\s+\{.*?[\"']guest_os[\"']\s*:\s*[\"'](\w+)[\"']")
HEADER_LINES = 5
USUAL_GUEST_OS = "UBUNTU"

# What each is made from, for `madrun explain`.
WHY = {
    "JENKINS_BUILD_NUMBER": "BUILD_NUMBER of this host, else 0",
    "MAD_GUEST_OS": "guest_os of the context, else of the Dockerfile's # CONTEXT, else UBUNTU",
    "MAD_SYSTEM_NGPUS": "the GPUs of this host",
    "MAD_SYSTEM_GPU_ARCHITECTURE": "the first GPU of this host",
    "MAD_SYSTEM_GPU_PRODUCT_NAME": "the first GPU of this host",
    "MAD_SYSTEM_HIP_VERSION": "ROCm of this host, or CUDA of its driver",
    "ROCM_PATH": "MAD_ROCM_PATH of docker_env_vars, or rocm_path of the context",
    "VLLM_TENSOR_PARALLEL_SIZE": "launcher vllm: processes on this node",
    "VLLM_PIPELINE_PARALLEL_SIZE": "launcher vllm: one server on each node",
    "SGLANG_TENSOR_PARALLEL_SIZE": "launcher sglang: processes on this node",
    "SGLANG_PIPELINE_PARALLEL_SIZE": "launcher sglang: one server on each node",
    "SGLANG_TP_SIZE": "launcher sglang-disagg: processes on this node",
    "SGLANG_NODE_IPS": "HOST_LIST, else the address of the one node",
    "SGLANG_NODE_RANK": "NODE_RANK",
    "SGLANG_DISAGG_MODE": "launcher sglang-disagg",
    "SGLANG_DISAGG_PREFILL_NODES": "distributed.sglang_disagg",
    "SGLANG_DISAGG_DECODE_NODES": "distributed.sglang_disagg",
    "PRIMUS_CONFIG_PATH": "distributed.primus",
    "PRIMUS_CLI_EXTRA": "distributed.primus",
    "BACKEND": "distributed.primus",
}


def mad_job_env(context: Context, accelerator: Accelerator, topology: Topology, dockerfile_text: str) -> dict[str, str]:
    """What is the same on every node; `accelerator`: the GPUs that the run gets here."""
    return {
        "MAD_GPU_VENDOR": (context.gpu_vendor or accelerator.vendor).upper(),
        "MAD_RUNTIME_NGPUS": str(accelerator.count or topology.nproc_per_node),
        "MAD_GUEST_OS": context.guest_os or _guest_os(dockerfile_text) or USUAL_GUEST_OS,
    }


def _guest_os(dockerfile_text: str) -> str:
    head = "\n".join(dockerfile_text.splitlines()[:HEADER_LINES])
    match = _GUEST_OS.search(head)
    return match[1] if match else ""


# Each node has its own: no part of the job that all have in common.
OF_ONE_NODE = (
    "MAD_COLLECT_METRICS",  # workers have it and node 0 has not
    "MIOPEN_USER_DB_PATH",
    "SGLANG_HOST_IP",
    "SGLANG_NODE_RANK",
    "VLLM_HOST_IP",
)


def mad_node_env(context: Context, chosen: Chosen, topology: Topology, env: Mapping[str, str]) -> dict[str, str]:
    """What this host says of itself, and what the launcher's scripts read; `env`: variables of this host.

    Without a GPU the names are there and empty, so that a script with `set -u` lives.
    """
    accelerator = chosen.facts.accelerator
    found = {
        "JENKINS_BUILD_NUMBER": env.get("BUILD_NUMBER") or "0",
        "MAD_SYSTEM_NGPUS": str(max(chosen.present, accelerator.count)),
        "MAD_SYSTEM_GPU_ARCHITECTURE": architecture(accelerator),
        "MAD_SYSTEM_GPU_PRODUCT_NAME": accelerator.model,
        "MAD_SYSTEM_HIP_VERSION": ".".join(accelerator.stack.split(".")[:2]),
    }
    # Not MAD_ROCM_PATH of the context itself, which is the host's. Where nobody says one, the driver takes the image's.
    rocm = context.docker_env_vars.get("MAD_ROCM_PATH") or context.rocm_path
    if rocm and accelerator.vendor == "amd":
        found["ROCM_PATH"] = rocm
    own = {name: context.docker_env_vars[name] for name in OF_ONE_NODE if name in context.docker_env_vars}
    return found | launcher_env(context, topology) | own


def architecture(accelerator: Accelerator) -> str:
    """As MAD writes it: gfx942 of an AMD GPU, the product's name of an NVIDIA one."""
    return accelerator.model if accelerator.vendor == "nvidia" else accelerator.arch

"""What makes NCCL and RCCL say which network they use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from madrun.spec.plan import TRANSPORT_LOGS, JobPlan

_ASKED = "NCCL_DEBUG"
# INIT: version, network, interfaces, adapters, connections and whether these reach the GPUs' memory. ENV: the variables
# that were heeded. All of them speak while communicators are made, and not in collectives. NET does not belong to
# them: AMD's plugin for RCCL (amd-anp, anpNetIrecv) has a line in it for every receive.
_PARTS = "INIT,BOOTSTRAP,ENV"
_FILES = f"{TRANSPORT_LOGS}/%h.%p.log"
_WHY = "so that NCCL and RCCL say which network they use, in files that are kept and not on the console"


def transport_env(job: JobPlan, box: str, given: Iterable[str]) -> dict[str, str]:
    """NCCL_DEBUG and its kin for ranks on GPUs, where nobody set one of them; the lines go to files of each process.

    `given`: names of variables that the ranks get. `box`: where the node finds the directory of its run. Source:
    "Environment Variables" of the NCCL manual (%h host, %p process); RCCL reads the same.
    """
    alone = job.nnodes * job.nproc_per_node == 1
    if alone or job.vendor == "cpu" or any(name.startswith(_ASKED) for name in given):
        return {}
    return {
        "NCCL_DEBUG": "INFO",
        "NCCL_DEBUG_SUBSYS": _PARTS,
        "NCCL_DEBUG_FILE": f"{box}/{_FILES}",
    }


def why_of(env: Mapping[str, str]) -> dict[str, str]:
    """Why these variables stand there, where `transport_env` set them."""
    ours = env.get("NCCL_DEBUG_FILE", "").endswith(f"/{_FILES}")
    return dict.fromkeys((name for name in env if name.startswith(_ASKED)), _WHY) if ours else {}

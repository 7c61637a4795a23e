"""What a run would ask of this host, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What could not be planned keeps its default.

    `in_container`: False for the process runtime. `gpus`: indices of the GPUs that the run would use, empty for all.
    `shm_size`: bytes of the container's shared memory, None where it is the host's. `is_planned`: False where no plan
    could be made, which alone knows that size. `transport`: as in the context.
    `results`: the folder of results, empty where it is not to be looked at.
    """

    nnodes: int = 1
    nproc_per_node: int = 1
    in_container: bool = True
    gpus: tuple[int, ...] = ()
    shm_size: int | None = None
    is_planned: bool = True
    transport: str = "auto"
    gloo_ifname: str = ""
    results: str = ""

"""What the context says of Compose."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from madrun.backends.settings import checked
from madrun.errors import ContextError
from madrun.spec.card import Vendor


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeSettings:
    """How the services look.

    `madrun`: `carry` (the one that renders is mounted into the containers), or `installed` in the image. `user`: as
    whom, `UID[:GID]`; by default whoever renders, so that the results are theirs. `gpus_per_node`: service 0 gets the
    first so many GPUs, service 1 the next. `groups`: further groups, for /dev/kfd and /dev/dri. `mounts`: path in the
    container to path on the host, `:ro` behind it where it is only read. `stop_grace`: seconds from SIGTERM to SIGKILL.
    `service`: anything else that Compose takes for a service; lists and maps are added to what is there.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    image: str | None = None
    vendor: Vendor | None = None
    madrun: Literal["carry", "installed"] = "carry"
    user: str = ""
    gpus_per_node: Annotated[int, Ge(1)] | None = None
    groups: tuple[str, ...] = ("video", "render")
    shm_size: str = "16g"
    ulimits: dict[str, int] = field(default_factory=lambda: {"stack": 67108864})
    cap_add: tuple[str, ...] = ("SYS_PTRACE",)
    mounts: dict[str, str] = field(default_factory=dict)
    stop_grace: Annotated[int, Ge(1)] = 30
    service: dict[str, Any] = field(default_factory=dict)


def read(values: Mapping[str, Any], nnodes: int | None, *, env: Mapping[str, str] = {}) -> tuple[ComposeSettings, int]:
    """The settings, and the number of nodes, which is one where nothing is said; `ContextError` for what is wrong."""
    settings = checked(ComposeSettings, "compose", values)
    for target, source in settings.mounts.items():
        if not target.startswith("/") or not source.startswith("/"):
            raise ContextError(
                f"compose.mounts: found {target!r}: {source!r}, allowed: absolute paths, that of the container first"
            )
    return replace(settings, user=settings.user or f"{os.getuid()}:{os.getgid()}"), nnodes or 1

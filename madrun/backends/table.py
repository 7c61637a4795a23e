"""The backends by name: a new one is one package and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.state import LaunchState, Which
from madrun.spec.launch import BackendName, Launch

# The module of each, and the keys of the context that configure it, the lower first.
BACKENDS: dict[BackendName, tuple[str, tuple[str, ...]]] = {
    "ssh": ("madrun.backends.ssh.backend", ("ssh",)),
    "slurm": ("madrun.backends.slurm.backend", ("slurm",)),
    "kubernetes": ("madrun.backends.kubernetes.backend", ("k8s", "kubernetes")),
    "compose": ("madrun.backends.compose.backend", ("compose",)),
    "skypilot": ("madrun.backends.skypilot.backend", ("skypilot",)),
}
RUNS: tuple[BackendName, ...] = ("ssh", "slurm", "kubernetes")  # the others are rendered for the user to start
WHOLE: tuple[BackendName, ...] = ("compose", "skypilot")  # whose folder holds madrun too, and `up.sh`

# Whose nodes read the launch's folder though nobody attends it any more: a job waits for its nodes for days.
UNATTENDED: tuple[BackendName, ...] = ("slurm",)


class Backend(Protocol):
    """What the module of a backend has."""

    def read(self, values: Mapping[str, Any], nnodes: int | None, *, env: Mapping[str, str]) -> tuple[Any, int]:
        """Settings out of the context's words, and the number of nodes; `ContextError` for what is wrong.

        `env`: of the command, where a scheduler may say that it runs inside of an allocation.
        """

    def render(self, launch: Launch, settings: Any) -> dict[str, str]:
        """Files beside the node's script, by name: what would be submitted, to the letter. Pure."""

    def conduct(self, folder: LaunchFolder, head: Head, detach: bool) -> int:
        """Runs a launch from its folder alone and returns the exit code of the command.

        `detach`: returns once it is started, where something else than this process keeps it going.
        """

    def state(self, folder: LaunchFolder) -> LaunchState:
        """How far it has come: asked of where it runs, else what the folder says."""

    def logs(self, folder: LaunchFolder, head: Head, which: Which) -> int:
        """Shows what a node printed; the exit code of the command."""

    def stop(self, folder: LaunchFolder, head: Head) -> int:
        """Ends it on all its nodes and waits for that; 0 where nothing of it is left."""


def backend_of(name: BackendName) -> Backend:
    """Its module; the others are not imported."""
    return cast(Backend, import_module(BACKENDS[name][0]))

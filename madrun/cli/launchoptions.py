"""The options of a launch: one command for all nodes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from madrun.cli import completion

_SLURM, _KUBERNETES = "With --on slurm", "With --on kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """By what all nodes are started, and what their scheduler is asked for."""

    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="BACKEND",
            help="Start all nodes from here: ssh, slurm or kubernetes. Default: this node alone is started.",
            autocompletion=completion.backends,
        ),
    ] = None
    hosts: Annotated[
        str | None,
        typer.Option("--hosts", metavar="HOSTS", help="With --on ssh: a,b or node[01-16] or a file; node 0 first."),
    ] = None
    nodes: Annotated[int | None, typer.Option("--nodes", metavar="N", min=1, help="How many nodes.")] = None
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it is started; status, logs and stop know the launch.")
    ] = False
    partition: Annotated[str | None, typer.Option("--partition", metavar="NAME", help=f"{_SLURM}.")] = None
    account: Annotated[str | None, typer.Option("--account", metavar="NAME", help=f"{_SLURM}.")] = None
    qos: Annotated[str | None, typer.Option("--qos", metavar="NAME", help=f"{_SLURM}.")] = None
    time: Annotated[
        str | None, typer.Option("--time", metavar="TIME", help=f"{_SLURM}: limit of the job, as sbatch takes it.")
    ] = None
    gpus_per_node: Annotated[
        str | None, typer.Option("--gpus-per-node", metavar="[TYPE:]N", help=f"{_SLURM} or kubernetes.")
    ] = None
    constraint: Annotated[str | None, typer.Option("--constraint", metavar="LIST", help=f"{_SLURM}.")] = None
    reservation: Annotated[str | None, typer.Option("--reservation", metavar="NAME", help=f"{_SLURM}.")] = None
    exclusive: Annotated[bool | None, typer.Option("--exclusive/--no-exclusive", help=f"{_SLURM}: whole nodes.")] = None
    nodelist: Annotated[str | None, typer.Option("--nodelist", metavar="HOSTS", help=f"{_SLURM}: these nodes.")] = None
    exclude: Annotated[str | None, typer.Option("--exclude", metavar="HOSTS", help=f"{_SLURM}: not these.")] = None
    sbatch: Annotated[
        list[str] | None,
        typer.Option("--sbatch", metavar="LINE", help=f"{_SLURM}: any further #SBATCH line. Repeatable."),
    ] = None
    namespace: Annotated[str | None, typer.Option("--namespace", metavar="NAME", help=f"{_KUBERNETES}.")] = None
    kube_context: Annotated[
        str | None, typer.Option("--kube-context", metavar="NAME", help=f"{_KUBERNETES}: of the kubeconfig.")
    ] = None
    jobset: Annotated[
        bool | None, typer.Option("--jobset/--no-jobset", help=f"{_KUBERNETES}: a JobSet instead of an Indexed Job.")
    ] = None

    def values(self, backend: str) -> dict[str, Any]:
        """Those that were given, as keys of this backend's part of the context; lists as they are."""
        known = OF_BACKEND.get(backend, ())
        return {name: value for name in known if (value := getattr(self, name)) not in (None, [])}

    def misplaced(self, backend: str | None) -> list[str]:
        """Flags that were given and mean nothing with this backend."""
        known = (*OF_BACKEND.get(backend or "", ()), *(("on", "nodes", "detach") if backend else ()))
        given = [one.name for one in fields(self) if getattr(self, one.name) not in (None, False, [])]
        return [f"--{name.replace('_', '-')}" for name in given if name not in known]


# The fields that a backend's part of the context takes, by the same names.
OF_BACKEND: dict[str, tuple[str, ...]] = {
    "ssh": ("hosts",),
    "slurm": (
        *("partition", "account", "qos", "time", "gpus_per_node", "constraint", "reservation", "exclusive"),
        *("nodelist", "exclude", "sbatch"),
    ),
    "kubernetes": ("namespace", "kube_context", "jobset", "gpus_per_node"),
    "compose": (),
    "skypilot": (),
}

"""The layers of a card of a MAD repository: what its words mean where madrun has a word of its own for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from madrun.errors import ContextError
from madrun.planning.mad.options import KEY, joined, read_options
from madrun.spec.card import Card
from madrun.spec.context import Layer

HOST_LAYER = "this host's environment"
# Variables that say how the nodes meet: scripts read them, madrun takes them from multi_node_args.
RENDEZVOUS = ("NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT")
COUNTED = ("WORLD_SIZE", "RANK")  # follow from the others


@dataclass(slots=True)
class Layering:
    """Layers in words of madrun, lowest first. `sources`: paths of the host that options mount."""

    layers: list[Layer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    options: tuple[str, ...] = ()

    def add(self, layer: Layer, mad: bool, env: Mapping[str, str]) -> None:
        """One layer more, above those that are there; `ContextError` where it contradicts itself."""
        values = dict(layer.values)
        if isinstance(values.get(KEY), str):
            self._options(values, layer.name, env)
        if mad:
            _rename_shm(values, layer.name)
            if values.get("docker_gpus") == "":
                del values["docker_gpus"]  # MAD's word for a host without GPUs
            self._move_variables(values, layer.name)
        self.layers.append(Layer(layer.name, values))

    def _options(self, values: dict[str, Any], where: str, env: Mapping[str, str]) -> None:
        """Options of higher layers stand behind those of lower ones; what is said twice, the engine takes last."""
        options = read_options(values[KEY], env, where)
        self.options += options.words
        self.notes += options.notes
        self.sources += options.sources
        values[KEY] = joined(self.options)
        said = values.get("docker_env_vars", {})
        if options.env and isinstance(said, dict):
            values["docker_env_vars"] = options.env | said
        for key, value in options.planned.items():
            values.setdefault(key, value)

    def _move_variables(self, values: dict[str, Any], where: str) -> None:
        variables, args = values.get("docker_env_vars"), values.get("multi_node_args", {})
        if not isinstance(variables, dict) or not isinstance(args, dict):
            return
        kept = {name: value for name, value in variables.items() if name not in (*RENDEZVOUS, *COUNTED)}
        moved = {name: variables[name] for name in RENDEZVOUS if name in variables}
        for name, value in moved.items():
            if str(args.get(name, value)) != str(value):
                raise ContextError(
                    f"{where}: docker_env_vars.{name}: found {value!r}, but multi_node_args.{name} is {args[name]!r}; "
                    "leave one of them out"
                )
        self.notes += [
            f"{where}: {name}={variables[name]} has no effect: it follows from NNODES, NODE_RANK and NPROC_PER_NODE"
            for name in COUNTED
            if name in variables
        ]
        if len(kept) < len(variables):
            values["docker_env_vars"] = kept
        if moved:
            values["multi_node_args"] = moved | args


def _rename_shm(values: dict[str, Any], where: str) -> None:
    if values.get("SHM_SIZE") is None:
        return
    size = values.pop("SHM_SIZE")
    if values.get("shm_size", size) != size:
        raise ContextError(f"{where}: SHM_SIZE: found {size!r}, but shm_size is {values['shm_size']!r}; give one")
    values["shm_size"] = size


def card_values(card: Card) -> dict[str, Any]:
    """What a card of a MAD repository says in keys of the context; nothing for a native one."""
    mad = card.mad
    if mad is None:
        return {}
    said = {"distributed": dict(mad.distributed), "slurm": dict(mad.slurm), KEY: mad.docker_options}
    values: dict[str, Any] = {key: value for key, value in said.items() if value}
    if card.script.endswith(".slurm"):
        values["runtime"] = "process"  # it starts jobs of its own, for which it needs the host's commands
    return values

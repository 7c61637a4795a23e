"""Where every final value of a run came from: its layer, what it overrode, or what it was derived from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from madrun.errors import UsageError
from madrun.planning.mad.environment import WHY
from madrun.planning.mad.layering import HOST_LAYER
from madrun.planning.transport import why_of
from madrun.spec.card import Card
from madrun.spec.codec import to_plain
from madrun.spec.context import Context, MultiNodeArgs, Origin, is_secret
from madrun.spec.data import DATA_HOME
from madrun.spec.masking import MASK
from madrun.spec.plan import RUN_DIR, RUN_ID, SECRET, Plan
from madrun.spec.validation import did_you_mean

DEFAULT, DERIVED, MADRUN = "default", "derived", "madrun"
HOST, IMAGE = HOST_LAYER, "image or engine"
_NESTED = "multi_node_args"
_MAPS = ("docker_env_vars", "docker_mounts", "docker_build_arg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One final value. `layer` said it; `why` says what it was derived from; `overrode`: lower layers, highest first.

    `variable` is the name under which the script finds the value, empty where it is no variable.
    """

    key: str
    value: Any
    layer: str
    why: str = ""
    overrode: tuple[tuple[str, Any], ...] = ()
    variable: str = ""


def explain(
    context: Context, origins: list[Origin], plan: Plan, card: Card, whys: Mapping[str, str]
) -> tuple[Explained, ...]:
    """A row for each key of the context and each variable of the script; secrets are masked.

    `whys` says why a value was chosen where only whoever chose it knows, by key.
    """
    said = {origin.key: origin.said for origin in origins}
    derived = _derived(plan, card, bool(context.more_args))
    derived |= {key: (derived[key][0], why) for key, why in whys.items() if why and key in derived}
    whys = why_of(_environment(plan)) | _of_transport(plan) | dict(whys)
    rows = [_row(key, value, said, derived) for key, value in _values(context)]
    given = {name for row in rows if (name := row.variable)}
    rows += [_variable(name, value, said, whys) for name, value in _environment(plan).items() if name not in given]
    return tuple(_masked(row) for row in sorted(rows, key=lambda row: (row.key == row.variable, row.key)))


def _values(context: Context) -> Iterable[tuple[str, Any]]:
    """Every key of the context but the variables, which have rows of their own."""
    for field in fields(Context):
        value = getattr(context, field.name)
        if field.name == _NESTED:
            yield from ((f"{_NESTED}.{inner.name}", getattr(value, inner.name)) for inner in fields(MultiNodeArgs))
        elif field.name == "docker_env_vars" and value:
            continue
        elif isinstance(value, dict) and value:
            yield from ((f"{field.name}.{name}", inner) for name, inner in value.items())
        else:
            yield field.name, to_plain(value)


Said = dict[str, tuple[tuple[str, Any], ...]]
Derived = dict[str, tuple[Any, str]]


def _row(key: str, value: Any, said: Said, derived: Derived) -> Explained:
    name = key.removeprefix(f"{_NESTED}.")
    variable = name if name != key and name in _CARRIED and f"docker_env_vars.{name}" not in said else ""
    layers = said.get(key, ())
    default = _default(key)
    final, why = derived.get(key, (value, ""))
    overrode = tuple(reversed(layers[:-1]))
    if layers and layers[-1][1] is not None:
        beneath = () if default in (None, [], {}) else ((DEFAULT, default),)
        changed = why if str(final) != str(value) else ""
        return Explained(
            key=key, value=final, layer=layers[-1][0], why=changed, overrode=(*overrode, *beneath), variable=variable
        )
    layer = DERIVED if why and str(final) != str(default) else DEFAULT
    return Explained(key=key, value=final, layer=layer, why=why, overrode=overrode, variable=variable)


# Keys of multi_node_args that the script sees as variables of the same name.
_CARRIED = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "NNODES",
    "NODE_RANK",
    "NPROC_PER_NODE",
    "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME",
)


def _default(key: str) -> Any:
    made: Any = Context()
    for part in key.split(".", 1):
        if isinstance(made, dict):
            return None
        made = getattr(made, part)
    return to_plain(made)


def _derived(plan: Plan, card: Card, more: bool) -> Derived:
    """What planning made of values that the context leaves open, with the reason."""
    job, node = plan.job, plan.node
    found = {
        "MASTER_ADDR": (node.master_addr, "the address of that name"),
        "MASTER_PORT": (
            node.master_port,
            "a free port of this host" if job.nnodes == 1 else "default of several nodes",
        ),
        "CONTROL_PORT": (node.control_port, "MASTER_PORT + 1"),
        "NPROC_PER_NODE": (job.nproc_per_node, _why_processes(plan, card)),
        "NCCL_SOCKET_IFNAME": (node.nccl_ifname, "the interface of the route to MASTER_ADDR"),
        "GLOO_SOCKET_IFNAME": (node.gloo_ifname, "the interface of the route to MASTER_ADDR"),
    }
    derived: Derived = {f"{_NESTED}.{name}": value for name, value in found.items()}
    derived["runtime"] = (job.runtime, "an engine answers")
    derived["timeout"] = (job.timeout_s, "")
    derived["model_args"] = (job.args, "the card's arguments, then more_args" if more else "the card's arguments")
    if job.in_container:
        source = f"built from {job.image.dockerfile}" if job.image.dockerfile else "the card's image"
        derived["MAD_CONTAINER_IMAGE"] = (job.image.name, source)
    if node.container is not None:
        derived["shm_size"] = (node.container.shm_size, "half of this host's memory")
    if node.gpus:
        derived["docker_gpus"] = (",".join(map(str, node.gpus)), "every GPU of this host")
    return derived


def _why_processes(plan: Plan, card: Card) -> str:
    if plan.job.runner == "plain":
        return "RUNNER plain starts one"
    if card.gpus_per_node:
        return "the card's gpus_per_node"
    return "one for each GPU" if plan.node.gpus else "this host has no GPU"


def _environment(plan: Plan) -> dict[str, str]:
    node = plan.node
    return node.container.env if node.container else node.process.env if node.process else {}


# What a variable that madrun sets is made from, where no layer names it.
_WHY: dict[str, str] = {
    "MULTI_NODE_RUNNER": "RUNNER and the other multi_node_args",
    "MAD_MULTI_NODE_RUNNER": "the same text as MULTI_NODE_RUNNER",
    "WORLD_SIZE": "NNODES x NPROC_PER_NODE",
    "MAD_RUNTIME_NGPUS": "NPROC_PER_NODE",
    "MAD_MODEL_NAME": "the card's name",
    "MAD_GPU_VENDOR": "the accelerator of this host",
    "MAD_OUTPUT_CSV": "the card's multiple_results",
    "MAD_DATAHOME": f"the card's data, mounted at {DATA_HOME}_0 and so on",
    "MAD_DATANAME": "the card's data",
    "MADRUN_OWNER": "user and group of who runs it; empty for root",
    "MADRUN_DEVICES": "device files that the driver looks for",
    "MADRUN_PROGRAMS": "what RUNNER needs in the image",
    "MADRUN_HOLD": "node 0 starts the ranks of this node",
    "MADRUN_FABRIC": "plug-ins of libibverbs that the driver looks for; - where the adapters are not known",
    "MADRUN_RUN_ID": "given out by node 0",
    "NCCL_SOCKET_FAMILY": "MASTER_ADDR is of IPv6, and NCCL would take the interface's first address",
    "TP_SOCKET_IFNAME": "the interface of GLOO_SOCKET_IFNAME, for torch.distributed.rpc",
    "UCX_NET_DEVICES": "the interface of GLOO_SOCKET_IFNAME, for MPI over UCX",
    "PYTHON_EXEC": "torchrun starts each rank with this, so that its output is kept apart",
    "PYTHONUNBUFFERED": "so that output is seen as it is printed",
    **WHY,
}


def _of_transport(plan: Plan) -> dict[str, str]:
    """Why the variables stand that TRANSPORT sets."""
    job, ports = plan.job, f"TRANSPORT rdma: {', '.join(plan.node.hcas)}"
    if job.transport == "rdma" and plan.node.hcas:
        index = "TRANSPORT rdma: the RoCE v2 address of the ports"
        return {"NCCL_IB_HCA": ports, "NCCL_IB_GID_INDEX": index, "UCX_NET_DEVICES": ports}
    return dict.fromkeys(("NCCL_IB_DISABLE", "NCCL_NET"), "TRANSPORT sockets") if job.transport == "sockets" else {}


def _variable(name: str, value: str, said: Said, whys: Mapping[str, str]) -> Explained:
    layers = said.get(f"docker_env_vars.{name}", ())
    if layers:
        overrode = tuple(reversed(layers[:-1]))
        return Explained(key=name, value=value, layer=layers[-1][0], overrode=overrode, variable=name)
    why = whys.get(name) or _WHY.get(name, "")
    ours = bool(why) or name in _CARRIED
    layer = MADRUN if ours else HOST
    return Explained(key=name, value=value, layer=layer, why=why, variable=name)


def _masked(row: Explained) -> Explained:
    hidden = is_secret(row.key.rpartition(".")[2]) or row.value == SECRET
    if not hidden:
        return row
    overrode = tuple((layer, MASK) for layer, _ in row.overrode)
    return Explained(key=row.key, value=MASK, layer=row.layer, why=row.why, overrode=overrode, variable=row.variable)


def chosen(rows: Iterable[Explained], words: Iterable[str]) -> list[Explained]:
    """The rows that the words mean: a key, a part of one, or a variable's name; all without words.

    `UsageError` names what is near where a word means nothing.
    """
    found: dict[str, Explained] = {}
    rows = list(rows)
    for word in words:
        hits = [row for row in rows if _means(row, word)]
        if not hits:
            names = [name for row in rows for name in (row.key, row.key.rpartition(".")[2])]
            raise UsageError(
                f"explain: no key or variable {word!r}{did_you_mean(word, dict.fromkeys((*names, *_MAPS)))}: nothing "
                "sets it, so it does not reach the script; `madrun explain` without a key shows all"
            )
        found |= {row.key: row for row in hits}
    return list(found.values()) if found else rows


def _means(row: Explained, word: str) -> bool:
    if word == "docker_env_vars":
        said = bool(row.variable) and row.layer not in (MADRUN, HOST) and not row.key.startswith(_NESTED)
        return said or row.key == word
    word = word.removeprefix("docker_env_vars.")
    return row.key == word or row.key.startswith(f"{word}.") or row.key == f"{_NESTED}.{word}"


def reached(row: Explained, environment: Mapping[str, str], run_id: str) -> str:
    """Whether the variable stood in the container as it was planned; empty for what is no variable.

    Of a masked value only its name is known to have come.
    """
    if not row.variable:
        return ""
    if row.variable not in environment:
        return "no"
    found = environment[row.variable]
    planned = re.escape(str(row.value).replace(RUN_ID, run_id))
    # The directory may have been moved since: its name is the run's id.
    same = re.fullmatch(planned.replace(re.escape(RUN_DIR), f".*{re.escape(run_id)}"), found, re.DOTALL)
    return "yes" if same or MASK in (row.value, found) else f"as {found}"


def of_the_image(rows: Iterable[Explained], environment: Mapping[str, str]) -> list[Explained]:
    """A row for each variable of the container that no plan set: the image or the engine did."""
    planned = {row.variable for row in rows}
    more = sorted(name for name in environment if name not in planned)
    return [Explained(key=name, value=environment[name], layer=IMAGE, variable=name) for name in more]

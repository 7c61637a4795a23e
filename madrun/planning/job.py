"""The job part of a plan: what is the same on every node."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from madrun.errors import CardError
from madrun.planning import driver
from madrun.planning.mad.command import run_lines
from madrun.spec import dockerfile
from madrun.spec.card import Card, ImageSource
from madrun.spec.codec import sha256
from madrun.spec.context import Context, is_secret
from madrun.spec.facts import HostFacts
from madrun.spec.mad import RUN_DIRECTORY, Entry
from madrun.spec.plan import SECRET, DataPlan, ImagePlan, JobPlan, RuntimeName
from madrun.spec.topology import Topology
from madrun.units import format_duration, parse_duration, parse_size

DEFAULT_TIMEOUT_S = 7200.0
DATA_HOME = "/data_dlm"
BASE_ARG = "BASE_DOCKER"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What was read from the card's files: hash and names of the work files, text and context of the Dockerfile.

    `checkout`: of a MAD repository, what its scripts find beside them.
    """

    script_hash: str
    files: tuple[str, ...]
    dockerfile: str = ""
    dockerfile_text: str = ""
    context: str = ""
    context_hash: str = ""
    data_paths: dict[str, str] = field(default_factory=dict)
    data_providers: dict[str, str] = field(default_factory=dict)
    checkout: tuple[Entry, ...] = ()


def choose_runtime(context: Context, facts: HostFacts) -> tuple[RuntimeName, str]:
    """`docker`, `podman` or `process`, and the line that says why where it was not the user's choice."""
    engine = facts.engine
    if engine is not None and context.runtime == "docker" and engine.name == "podman":
        return "podman", f"runtime podman: podman is what answers at {engine.host}, where docker was asked for"
    if context.runtime != "auto":
        return context.runtime, ""
    if engine is not None:
        return engine.name, ""
    return "process", f"runtime process, on the host itself: {facts.engine_absent}"


def image_source(card: Card, vendor: str) -> ImageSource:
    """The card's image for the accelerator; `CardError` says which accelerators it has images for."""
    if vendor in card.images:
        return card.images[vendor]
    have = ", ".join(sorted(card.images)) or "none"
    raise CardError(
        f"{card.source}: images: none for {vendor}, the accelerator of this host; the card has: {have}. "
        "Name a ready image with MAD_CONTAINER_IMAGE in the context, or add one to the card"
    )


def plan_image(card: Card, context: Context, vendor: str, files: CardFacts) -> ImagePlan:
    """What the image is; a recipe hashes Dockerfile, build context, arguments and the name of the base.

    Secret arguments are there by name: whoever builds puts their values in the place of `{secret}`.
    """
    if context.MAD_CONTAINER_IMAGE:
        return ImagePlan(kind="ready", name=context.MAD_CONTAINER_IMAGE)
    source = image_source(card, vendor)
    if source.image:
        return ImagePlan(kind="ready", name=source.image)
    args = {BASE_ARG: source.base} if source.base else {}
    given = {**source.args, **context.docker_build_arg}
    # By name alone: the plan is written down and its hash is shown, and a new token makes no other image.
    args |= {name: SECRET if is_secret(name) else value for name, value in given.items()}
    recipe = sha256([files.dockerfile_text, files.context_hash, args])
    try:
        bases = dockerfile.bases(files.dockerfile_text, args)
    except dockerfile.UnsetArgument as unset:
        raise CardError(f"{files.dockerfile}: {unset}; give it with base or args, or docker_build_arg") from None
    folder, _, file_name = files.dockerfile.rpartition("/")
    stem = (folder if file_name == "Dockerfile" else file_name.removesuffix(".Dockerfile")).rpartition("/")[2]
    return ImagePlan(
        kind="build",
        name=f"madrun/{_image_word(stem)}:{recipe[:12]}",
        recipe=recipe,
        dockerfile=_place(files.dockerfile, files.context),
        context=files.context,
        build_args=args,
        base=next(iter(bases), ""),
    )


def _place(path: str, context: str) -> str:
    """Where the builder finds the Dockerfile: below the context, or at its root where it lies outside."""
    if context == ".":
        return path
    return path.removeprefix(f"{context}/") if path.startswith(f"{context}/") else path.rpartition("/")[2]


def _image_word(text: str) -> str:
    """The text as part of an image's name: lower case, other characters as dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "image"


def _job_env(card: Card, context: Context, topology: Topology, vendor: str, secrets: frozenset[str]) -> dict[str, str]:
    env = {
        "PYTHONUNBUFFERED": "1",
        "MAD_MODEL_NAME": card.name,
        "MAD_GPU_VENDOR": vendor.upper(),
        "NNODES": str(topology.nnodes),
        "NPROC_PER_NODE": str(topology.nproc_per_node),
        "MAD_RUNTIME_NGPUS": str(topology.nproc_per_node),
        "WORLD_SIZE": str(topology.world_size),
    }
    if card.multiple_results:
        env["MAD_OUTPUT_CSV"] = card.multiple_results
    env |= {name: value for name, value in context.docker_env_vars.items() if name not in secrets}
    return dict(sorted(env.items()))


def plan_job(
    card: Card,
    context: Context,
    facts: HostFacts,
    topology: Topology,
    files: CardFacts,
    secrets: frozenset[str],
) -> JobPlan:
    """The job that the card and the context mean on hosts such as this one."""
    runtime, _ = choose_runtime(context, facts)
    vendor = facts.accelerator.vendor
    image = plan_image(card, context, vendor, files) if runtime != "process" else ImagePlan(kind="none")
    said = card.args if context.model_args is None else context.model_args
    args = " ".join((said, *context.more_args)) if context.more_args else said
    grace = parse_duration(context.grace)
    return JobPlan(
        card=card.name,
        tags=card.tags,
        script=card.script,
        args=args,
        script_hash=files.script_hash,
        runtime=runtime,
        vendor=vendor,
        runner=context.multi_node_args.RUNNER,
        nnodes=topology.nnodes,
        nproc_per_node=topology.nproc_per_node,
        env=_job_env(card, context, topology, vendor, secrets),
        secrets=tuple(sorted(secrets)),
        image=image,
        data=tuple(
            DataPlan(name=name, provider=files.data_providers[name], home=f"{DATA_HOME}_{index}")
            for index, name in enumerate(card.data)
        ),
        metrics=card.metrics,
        multiple_results=card.multiple_results,
        timeout_s=DEFAULT_TIMEOUT_S if context.timeout is None else parse_duration(context.timeout),
        grace_s=grace,
        lease_s=driver.LEASE_S,
        driver=driver.render(card.name, _run_lines(card, args, runtime), grace),
        stall_timeout_s=0.0 if context.stall_timeout is None else parse_duration(context.stall_timeout),
        collect_limit=parse_size(context.collect_limit),
        training_precision=card.training_precision,
        run_directory=RUN_DIRECTORY if card.mad else "",
    )


def _run_lines(card: Card, args: str, runtime: RuntimeName) -> str:
    """How the driver starts the script: a bash script as it is, a Python one by the runner."""
    if card.mad is not None:
        return run_lines(card.script, args, runtime != "process")
    return driver.run_line(card.script, args)


_SAID = (
    "card",
    "script",
    "args",
    "runtime",
    "vendor",
    "runner",
    "nnodes",
    "nproc_per_node",
    "training_precision",
    "multiple_results",
)
_DURATIONS = ("timeout_s", "grace_s", "stall_timeout_s", "lease_s")
_HASHED = ("metrics", "image", "driver")
_MOST_NAMED = 64  # variables that are compared one by one


def summary(job: JobPlan) -> dict[str, str]:
    """Each part of the job in a few characters: what nodes exchange to name the part in which they differ.

    Of secrets it holds the names alone, for a job holds nothing else of them.
    """
    parts = {name: str(getattr(job, name)) for name in _SAID}
    parts["tags"] = ", ".join(job.tags)
    parts["image"] = job.image.name if job.image.kind != "none" else "none"
    parts["data"] = ", ".join(f"{item.name} ({item.provider}) at {item.home}" for item in job.data)
    parts |= {name.removesuffix("_s"): _duration(getattr(job, name)) for name in _DURATIONS}
    parts["script files (hash)"] = job.script_hash[:12]
    parts |= {f"{name} (hash)": sha256(getattr(job, name))[:12] for name in _HASHED}
    parts |= {f"secret {name}": "set" for name in job.secrets}
    names = sorted(job.env)
    parts |= {f"variable {name}": job.env[name] for name in names[:_MOST_NAMED]}
    if len(names) > _MOST_NAMED:
        parts["other variables (hash)"] = sha256({name: job.env[name] for name in names[_MOST_NAMED:]})[:12]
    return {name: text if len(text) <= 60 else f"{text[:40]}... ({sha256(text)[:12]})" for name, text in parts.items()}


def _duration(seconds: float) -> str:
    return format_duration(seconds) if seconds else "none"

"""The job part of a plan: what is the same on every node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from madrun.planning import driver
from madrun.planning.image import Given, image_source, plan_image
from madrun.planning.mad.command import run_lines, step_paths
from madrun.planning.mad.distributed import launcher_of
from madrun.planning.mad.environment import OF_ONE_NODE, mad_job_env
from madrun.planning.mad.results import log_rules
from madrun.planning.runnerfile import RunnerFile
from madrun.planning.runnerwords import check_named_configs, runner_words
from madrun.planning.topology import OF_INTERFACES
from madrun.spec.card import Card
from madrun.spec.codec import sha256
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.data import Source
from madrun.spec.facts import HostFacts
from madrun.spec.mad import Around, Entry
from madrun.spec.plan import DataPlan, ImagePlan, JobPlan, RuntimeName
from madrun.spec.topology import Topology
from madrun.units import format_duration, parse_duration, parse_size

DEFAULT_TIMEOUT_S = 7200.0
__all__ = ["CardFacts", "choose_runtime", "image_source", "plan_image", "plan_job", "summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What was read from the card's files: hash and names of the work files, text and context of the Dockerfile.

    Of a MAD repository, `checkout`: what its scripts find beside them; `around`: what is run around the script;
    `placed`: where files lie that are not in the card's folder, by name; `cache`: where models are kept; `common`: hash
    of what the card's files use of scripts/common. `runner_file`: the runner's configuration file.
    """

    script_hash: str
    files: tuple[str, ...]
    dockerfile: str = ""
    dockerfile_text: str = ""
    context: str = ""
    context_hash: str = ""
    data: tuple[Source, ...] = ()
    checkout: tuple[Entry, ...] = ()
    around: Around = Around()
    placed: dict[str, str] = field(default_factory=dict)
    cache: str = ""
    common: str = ""
    notes: tuple[str, ...] = ()
    options: str = ""
    runner_file: RunnerFile | None = None


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


def _job_env(
    card: Card, context: Context, topology: Topology, facts: HostFacts, files: CardFacts, secrets: frozenset[str]
) -> dict[str, str]:
    env = {
        "PYTHONUNBUFFERED": "1",
        "MAD_MODEL_NAME": card.name,
        "MAD_GPU_VENDOR": facts.accelerator.vendor.upper(),
        "NNODES": str(topology.nnodes),
        "NPROC_PER_NODE": str(topology.nproc_per_node),
        "MAD_RUNTIME_NGPUS": str(topology.nproc_per_node),
        "WORLD_SIZE": str(topology.world_size),
    }
    if card.multiple_results:
        env["MAD_OUTPUT_CSV"] = card.multiple_results
    if card.mad is not None:
        env |= mad_job_env(context, facts.accelerator, topology, files.dockerfile_text)
    named = {name for name in OF_INTERFACES if context.docker_env_vars.get(name)}
    left_out = secrets | named | frozenset(OF_ONE_NODE if card.mad is not None else ())
    env |= {name: value for name, value in context.docker_env_vars.items() if name not in left_out}
    return dict(sorted(env.items()))


def arguments_of(card: Card, context: Context) -> str:
    """The arguments of the script, as shell text."""
    said = card.args if context.model_args is None else context.model_args
    return " ".join((said, *context.more_args)) if context.more_args else said


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
    given = Given.of(facts, secrets)
    image = plan_image(card, context, vendor, files, given) if runtime != "process" else ImagePlan(kind="none")
    args = arguments_of(card, context)
    check_named_configs(card, context, args, files.files)
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
        env=_job_env(card, context, topology, facts, files, secrets),
        secrets=tuple(sorted(secrets)),
        image=image,
        data=tuple(
            DataPlan(
                name=source.name, provider=source.provider, home=f"{source.home}_{index}", writable=source.writable
            )
            for index, source in enumerate(files.data)
        ),
        metrics=card.metrics,
        multiple_results=card.multiple_results,
        timeout_s=DEFAULT_TIMEOUT_S if context.timeout is None else parse_duration(context.timeout),
        grace_s=grace,
        lease_s=driver.LEASE_S,
        driver=driver.render(
            card.name,
            _run_lines(card, args, runtime, files.around),
            grace,
            card.mad is not None,
            _inside() if topology.nnodes > 1 else "",
        ),
        stall_timeout_s=0.0 if context.stall_timeout is None else parse_duration(context.stall_timeout),
        collect_limit=parse_size(context.collect_limit),
        training_precision=card.training_precision,
        launcher=launcher_of(context.distributed) if card.mad else "",
        options=files.options,
        run_directory=card.mad.directory if card.mad else "",
        url=card.mad.url if card.mad else "",
        cred=card.mad.cred if card.mad else "",
        steps=step_paths(files.around),
        log_errors=log_rules(card, context),
        checkout=context.checkout if card.mad else "",
        common=files.common,
        **_of_runner(context.multi_node_args, topology, vendor, files.runner_file),
    )


def _inside() -> str:
    """How the driver looks at what RDMA between nodes needs."""
    from madrun.planning.inside import SCRIPT

    return SCRIPT


def _of_runner(args: MultiNodeArgs, topology: Topology, vendor: str, file: RunnerFile | None) -> dict[str, Any]:
    """What the job says of how its ranks are started; no more than the runner heeds."""
    words = runner_words(args, topology, vendor, file)
    return {
        "runner_args": words.args,
        "runner_config": words.config,
        "elastic": words.elastic,
        "mpi_launch": args.MPI_LAUNCH if args.RUNNER == "mpirun" else "",
        "transport": args.TRANSPORT,
    }


def _run_lines(card: Card, args: str, runtime: RuntimeName, around: Around) -> str:
    """How the driver starts the script: a bash script as it is, a Python one by the runner."""
    if card.mad is not None:
        return run_lines(card.script, args, runtime != "process", card.mad.directory, around)
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
    "url",
    "launcher",
    "checkout",
    "elastic",
    "mpi_launch",
    "transport",
)
_DURATIONS = ("timeout_s", "grace_s", "stall_timeout_s", "lease_s")
_HASHED = ("metrics", "image", "driver", "runner_config")
_MOST_NAMED = 64  # variables that are compared one by one


def summary(job: JobPlan) -> dict[str, str]:
    """Each part of the job in a few characters: what nodes exchange to name the part in which they differ.

    Of secrets it holds the names alone, for a job holds nothing else of them.
    """
    parts = {name: str(getattr(job, name)) for name in _SAID}
    parts["tags"], parts["runner_args"] = ", ".join(job.tags), " ".join(job.runner_args)
    parts["image"] = job.image.name if job.image.kind != "none" else "none"
    parts["data"] = ", ".join(f"{item.name} ({item.provider}) at {item.home}" for item in job.data)
    parts |= {name.removesuffix("_s"): _duration(getattr(job, name)) for name in _DURATIONS}
    parts["script files (hash)"] = job.script_hash[:12]
    parts["additional_docker_run_options, docker_cpus (hash)"] = job.options[:12]
    parts["files of scripts/common (hash)"] = job.common[:12]
    parts |= {f"{name} (hash)": sha256(getattr(job, name))[:12] for name in _HASHED}
    parts |= {f"secret {name}": "set" for name in job.secrets}
    names = sorted(job.env)
    parts |= {f"variable {name}": job.env[name] for name in names[:_MOST_NAMED]}
    if len(names) > _MOST_NAMED:
        parts["other variables (hash)"] = sha256({name: job.env[name] for name in names[_MOST_NAMED:]})[:12]
    return {name: text if len(text) <= 60 else f"{text[:40]}... ({sha256(text)[:12]})" for name, text in parts.items()}


def _duration(seconds: float) -> str:
    return format_duration(seconds) if seconds else "none"

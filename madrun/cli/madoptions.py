"""The options that model repositories of MAD bring along; both spellings of each, that of v2 first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

ManifestOutput = Annotated[
    str | None, typer.Option("--manifest-output", metavar="FILE", help="Write a build manifest of the images there.")
]
SummaryOutput = Annotated[
    str | None, typer.Option("--summary-output", "-s", metavar="FILE", help="Write a JSON summary of all cards there.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryOptions:
    """What `run`, `plan`, `explain` and `build` have in common beside `RunOptions`."""

    data_config: Annotated[
        str | None,
        typer.Option(
            "--data-config", "--data-config-file-name", metavar="FILE", help="Data sources. Default: data.json."
        ),
    ] = None
    tools_config: Annotated[
        str | None,
        typer.Option(
            "--tools-config",
            "--tools-json-file-name",
            metavar="FILE",
            help="Tools. Default: scripts/common/tools.json of the repository, else madrun's own.",
        ),
    ] = None
    ignore_deprecated: Annotated[
        bool,
        typer.Option("--ignore-deprecated", "--ignore-deprecated-flag", help="Run cards that are marked deprecated."),
    ] = False
    disable_skip_gpu_arch: Annotated[
        bool, typer.Option("--disable-skip-gpu-arch", help="Run cards on the GPUs that they ask to be skipped on.")
    ] = False
    manifest_file: Annotated[
        str | None, typer.Option("--manifest-file", "-m", metavar="FILE", help="Take images from this build manifest.")
    ] = None
    registry: Annotated[
        str | None,
        typer.Option("--registry", "-r", metavar="HOST[/PATH]", help="Push what is built there; pull from there."),
    ] = None
    pull: Annotated[bool, typer.Option("--pull", help="Pull base and ready images even where they lie here.")] = False
    clean_docker_cache: Annotated[
        bool, typer.Option("--clean-docker-cache", help="Build images anew, without the builder's cache.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """What `run` writes beside the run directory, and what of its box it keeps."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the rows there too. Default in a MAD repository: perf.csv here.",
        ),
    ] = None
    mad_files: Annotated[
        bool,
        typer.Option("--mad-files", help="Write perf_entry, perf_super and the logs by MAD's names beside that CSV."),
    ] = False
    manifest_output: ManifestOutput = None
    summary_output: SummaryOutput = None
    live_output: Annotated[
        bool | None,
        typer.Option("--live-output/--no-live-output", "-l", help="Show what scripts print; the log has it all."),
    ] = None
    cleanup_perf: Annotated[
        bool, typer.Option("--cleanup-perf", help="Remove perf_entry* at the end; perf.csv and perf_super* stay.")
    ] = False
    keep_model_dir: Annotated[
        bool, typer.Option("--keep-model-dir", help="Keep the directory in which the script ran, whole.")
    ] = False
    skip_model_run: Annotated[
        bool, typer.Option("--skip-model-run", help="Do everything but start the script; rows say SKIPPED.")
    ] = False
    sys_env_details: Annotated[
        bool | None,
        typer.Option("--sys-env-details/--no-sys-env-details", help="Write <card>_env.csv there: host and variables."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFiles:
    """What `build` writes, and what it builds for."""

    manifest_output: ManifestOutput = None
    summary_output: SummaryOutput = None
    target_archs: Annotated[
        list[str] | None,
        typer.Option("--target-archs", metavar="ARCH", help="Build for these GPU architectures. Repeatable, or a,b."),
    ] = None
    batch_manifest: Annotated[
        str | None,
        typer.Option("--batch-manifest", metavar="FILE", help="Which cards to build: [{model_name, build_new, ...}]."),
    ] = None

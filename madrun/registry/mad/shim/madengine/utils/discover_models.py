"""What a generator of cards makes: `CustomModel`, one for each card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class CustomModel:
    """The fields of models.json, as attributes. Paths are relative to the folder of the generator."""

    name: str = ""
    dockerfile: str = ""
    scripts: str = ""
    n_gpus: str | int = "-1"
    args: str = ""
    tags: Any = field(default_factory=list)
    owner: str = ""
    training_precision: str = ""
    url: str = ""
    data: str = ""
    cred: str = ""
    multiple_results: str = ""
    timeout: int = 7200
    dockercontext: str = ""
    skip_gpu_arch: str = ""
    additional_docker_run_options: str = ""
    is_deprecated: bool = False
    distributed: Any = field(default_factory=dict)
    slurm: Any = field(default_factory=dict)
    env_vars: Any = field(default_factory=dict)
    log_error_pattern_scan: bool | None = None
    log_error_benign_patterns: Any = None
    log_error_patterns: Any = None
    nnodes: int | None = None

    def update_model(self) -> None:
        """Called once the card is selected, before its fields are read; to be overridden."""

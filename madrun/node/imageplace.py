"""Where the images of this host lie: the engine, and the docker client that can use BuildKit for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from madrun.runtimes.images import BuildKitClient, Place, Policy
from madrun.spec.facts import Engine


def image_place(client: Any, engine: Engine | None, lock_dir: Path, policy: Policy | None = None) -> Place:
    """The place for `images.ensure`; a client for BuildKit is looked for only when there is something to build."""

    def look() -> BuildKitClient | None:
        from madrun.probe.buildkit import client_program

        found = client_program(engine.host if engine else "")
        return BuildKitClient(program=found[0], env=found[1]) if found else None

    return Place(client=client, lock_dir=lock_dir, engine=engine, buildkit=look, policy=policy or Policy())

"""Where the images of this host lie: the engine, and the docker client that can use BuildKit for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from madrun.data.claim import Claim, Queue
from madrun.runtimes.images import BuildKitClient, Place, Policy
from madrun.runtimes.images.place import Attempt, Claimed
from madrun.spec.facts import Engine


def image_place(client: Any, engine: Engine | None, lock_dir: Path, policy: Policy | None = None) -> Place:
    """The place for `images.ensure`; a client for BuildKit is looked for only when there is something to build."""

    def look() -> BuildKitClient | None:
        from madrun.probe.buildkit import client_program

        found = client_program(engine.host if engine else "")
        return BuildKitClient(program=found[0], env=found[1]) if found else None

    return Place(
        client=client, lock_dir=lock_dir, engine=engine, buildkit=look, policy=policy or Policy(), claims=claims_to
    )


def claims_to(file: Path) -> Attempt:
    """How this process tries for the claim to write the file, over a shared file system too."""
    queue = Queue(file)

    def attempt() -> tuple[Claimed | None, str]:
        got = queue.attempt()
        if isinstance(got, Claim):
            return got, ""
        return None, f"process {got.pid} on {got.host}" if got else ""

    return attempt

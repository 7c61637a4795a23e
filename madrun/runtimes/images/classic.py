"""Builds through the Engine API: the classic builder of docker, buildah behind podman's socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.runtimes.images.archive import archive
from madrun.runtimes.images.progress import Layers
from madrun.runtimes.images.watch import Pace, Watch, engine_errors, stoppable
from madrun.spec.plan import ImagePlan


def build(
    client: Any, image: ImagePlan, context: Mapping[str, Path], labels: Mapping[str, str], watch: Watch
) -> tuple[bool, list[str]]:
    """Whether the image was built, and the lines that the engine printed."""
    lines: list[str] = []
    pending = ""
    layers, pace = Layers(), Pace()
    try:
        with archive(context) as content, stoppable(client, watch.stop):
            for event in client.build(
                fileobj=content,
                custom_context=True,
                dockerfile=image.dockerfile,
                buildargs=image.build_args,
                tag=image.name,
                labels=dict(labels),
                network_mode="host",
                rm=True,
                forcerm=True,
                decode=True,
            ):
                *whole, pending = (pending + str(event.get("stream") or "")).split("\n")
                lines += [watch.line(line) for line in whole]
                if "error" in event:
                    last = [pending, *str(event["error"]).split("\n")]
                    return False, lines + [watch.line(line) for line in last if line]
                if "status" in event:
                    watch.detail(layers.add(event))
                    if pace.due():
                        watch.line(f"pulling: {layers.summary()}")
    except engine_errors() as error:
        return False, [*lines, watch.detail(str(getattr(error, "explanation", None) or error))]
    return True, lines

"""Builds through the Engine API: the classic builder of docker, buildah behind podman's socket."""

from __future__ import annotations

from typing import Any

from madrun.runtimes.images.archive import archive
from madrun.runtimes.images.place import Order
from madrun.runtimes.images.progress import Layers
from madrun.runtimes.images.watch import Pace, Watch, engine_errors, stoppable


def build(client: Any, order: Order, watch: Watch) -> tuple[bool, list[str]]:
    """Whether the image was built, and the lines that the engine printed."""
    image = order.image
    lines: list[str] = []
    pending = ""
    layers, pace = Layers(), Pace()
    try:
        with archive(order.context, {image.dockerfile: order.text}) as content, stoppable(client, watch.stop):
            for event in client.build(
                fileobj=content,
                custom_context=True,
                dockerfile=image.dockerfile,
                buildargs=image.build_args,
                tag=image.name,
                labels=dict(order.labels),
                network_mode="host",
                rm=True,
                forcerm=True,
                nocache=order.fresh,
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

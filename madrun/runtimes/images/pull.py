"""Pulls an image from its registry, with the credentials of the user's docker configuration."""

from __future__ import annotations

from typing import Any

from madrun.runtimes.images.failures import pull_failed
from madrun.runtimes.images.identity import split_reference
from madrun.runtimes.images.progress import Layers
from madrun.runtimes.images.watch import Pace, Watch, engine_errors, stoppable


def pull(client: Any, name: str, watch: Watch, login: dict[str, str] | None = None, here: bool = False) -> None:
    """Returns when the engine has the image; raises `BuildError`.

    Without a login the docker client finds the credentials: `auths`, `credsStore` and `credHelpers` of
    ~/.docker/config.json.
    """
    watch.line(f"pulling {name}")
    reference, tag = split_reference(name)
    layers, pace = Layers(), Pace()
    more = {"auth_config": login} if login else {}
    try:
        with stoppable(client, watch.stop):
            for event in client.pull(reference, tag=tag, stream=True, decode=True, **more):
                if "error" in event:
                    raise pull_failed(client, name, str(event["error"]), here)
                if new := layers.add(event):
                    watch.detail(new)
                if pace.due() and layers.summary():
                    watch.line(f"pulling {name}: {layers.summary()}")
    except engine_errors() as error:
        raise pull_failed(client, name, str(getattr(error, "explanation", None) or error), here) from None
    if layers.total:
        watch.line(f"pulling {name}: {layers.summary()}")

"""Pushes what was built to a registry, and takes from there what another host has built."""

from __future__ import annotations

from typing import Any

from madrun.errors import BuildError
from madrun.runtimes.images.failures import is_missing, push_failed
from madrun.runtimes.images.identity import RECIPE, labels_of, split_reference
from madrun.runtimes.images.place import Place
from madrun.runtimes.images.progress import Layers
from madrun.runtimes.images.pull import pull
from madrun.runtimes.images.watch import Pace, Watch, engine_errors, stoppable
from madrun.spec.plan import ImagePlan


def fetch(place: Place, image: ImagePlan, watch: Watch) -> bool:
    """Whether the registry had the image of this recipe, which then lies here under its own name.

    Raises `BuildError` where the registry cannot be asked: a build in its place would hide that.
    """
    reference = place.policy.reference(image)
    try:
        pull(place.client, reference, watch, place.policy.login(reference))
    except BuildError as error:
        if is_missing(str(error)):
            watch.line(f"{reference}: the registry does not have it yet")
            return False
        raise
    found = place.client.inspect_image(reference)
    if labels_of(found).get(RECIPE) != image.recipe:
        watch.line(f"{reference}: is an image of another recipe: it is left there and built here")
        return False
    repository, tag = split_reference(image.name)
    place.client.tag(found["Id"], repository, tag=tag)
    place.policy.once.first(f"push {reference}")  # the registry has it
    watch.line(f"pulled {image.name} from {reference}")
    return True


def provide(place: Place, image: ImagePlan, watch: Watch) -> None:
    """The registry has the image when this returns; raises `BuildError`."""
    reference = place.policy.reference(image)
    if not reference or not place.policy.once.first(f"push {reference}"):
        return
    login = place.policy.login(reference)
    identity = str(place.client.inspect_image(image.name)["Id"])
    repository, tag = split_reference(reference)
    place.client.tag(identity, repository, tag=tag)
    watch.line(f"pushing {reference}")
    digest = _push(place.client, reference, watch, login)
    watch.line(f"pushed {reference}{f': {digest}' if digest else ''}")


def _push(client: Any, reference: str, watch: Watch, login: dict[str, str] | None) -> str:
    """The digest that the registry gave; raises `BuildError`."""
    repository, tag = split_reference(reference)
    layers, pace = Layers(), Pace()
    more = {"auth_config": login} if login else {}
    digest = ""
    try:
        with stoppable(client, watch.stop):
            for event in client.push(repository, tag=tag, stream=True, decode=True, **more):
                if "error" in event:
                    raise push_failed(client, reference, str(event["error"]))
                digest = str((event.get("aux") or {}).get("Digest") or digest)
                if new := layers.add(event):
                    watch.detail(new)
                if pace.due() and layers.summary():
                    watch.line(f"pushing {reference}: {layers.summary()}")
    except engine_errors() as error:
        raise push_failed(client, reference, str(getattr(error, "explanation", None) or error)) from None
    return digest

"""What the hosts of a launch lack, brought to them over their connections, and what they made brought home."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.backends.carry.home import fetch
from madrun.backends.carry.images import Image, Way, images_here, send_image
from madrun.backends.carry.talk import Starter, Target, Trouble, ask, printable
from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh.lacking import Delivery, Found, place_of, target_of
from madrun.backends.ssh.sending import each_host, send
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.visitscript import Seen
from madrun.spec.launch import PRIVATE, SCRIPT, Launch
from madrun.units import format_size

CACHE = Path("~/.cache/madrun/carry")  # of this host


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a host has what its node needs.

    `folder`: that of the launch, with the script. `program`, `repository`, `results`: values for MADRUN_PROGRAM,
    MADRUN_REPOSITORY and MADRUN_RESULTS; empty where the launch's own are right. `shared`: nothing of the launch was
    put there: its folder is seen. `launch`, `base`, `python`: for what is asked of the host later.
    """

    host: str
    folder: str
    program: str
    repository: str
    results: str
    shared: bool
    launch: str
    base: str
    python: str


def deliver(
    connections: Starter,
    seen: Sequence[Seen],
    folder: LaunchFolder,
    launch: Launch,
    settings: SshSettings,
    head: Head,
) -> tuple[Place, ...]:
    """Brings madrun, the repository, images and the launch's files to the hosts that lack them; a place for each host.

    Every thing is one line on the terminal for all hosts, and `UsageError` names all hosts with trouble; then nothing
    of the launch stays there. What lies there already, by its content, is not sent again.
    """
    job = Delivery(
        starter=connections,
        targets=tuple(map(target_of, seen)),
        seen=tuple(seen),
        folder=folder,
        launch=launch,
        settings=settings,
        head=head,
        cache_folder=Path(launch.cache, "carry") if launch.cache else CACHE.expanduser(),
    )
    names = [*filter(None, launch.images.values()), *launch.built]
    needed = settings.images != "registry" and launch.runtime != "process"
    here = images_here(names) if needed else ()
    found = job.look(here)
    places = tuple(_place(job, found, one) for one in seen)
    try:
        carried = _images(job, here, found)
        sent = send(job, found)
    except BaseException:
        clear(connections, places)
        raise
    folder.journal("carried", madrun=list(found.without_madrun), repository=list(sent), images=carried)
    return places


def _place(job: Delivery, found: Found, one: Seen) -> Place:
    return Place(
        host=one.host,
        folder=found.folder_on(job, one),
        program=found.program_on(job, one),
        repository=found.repository_on(job, one),
        results="" if one.shared else f"{found.bases[one.host]}/{place_of(job.launch)}/results",
        shared=one.shared,
        launch=job.launch.id,
        base=found.bases[one.host],
        python=target_of(one).python,
    )


def _images(job: Delivery, here: Sequence[Image], found: Found) -> dict[str, list[str]]:
    """Sends the images; by name the hosts that got them."""
    carried: dict[str, list[str]] = {}
    for image in here:
        lacking = [
            target
            for target in job.targets
            if target.engine and not image.is_like(found.answers[target.host]["images"].get(image.name))
        ]
        if not lacking:
            continue
        if image.of_registry and job.settings.images == "auto":
            job.head.say(
                f"image {image.name} is of a registry and left to {len(lacking)} of {len(job.targets)} hosts to pull; "
                "ssh.images: copy carries it"
            )
            continue
        packed = all(found.answers[target.host]["zstd"] for target in lacking)
        job.say(f"carrying image {image.name} {format_size(image.size)}", len(lacking))
        way = Way(
            starter=job.starter,
            packed=packed,
            fanout=job.settings.fanout,
            folder=job.settings.folder,
            tree=job.settings.tree,
        )
        send_image(image, lacking, way, job.head)
        carried[image.name] = [target.host for target in lacking]
    return carried


def bring_home(
    connections: Starter, place0: Place, folder: LaunchFolder, launch: Launch, here: Sequence[str] = ()
) -> tuple[str, ...]:
    """Brings the run directories of node 0 below the launch's results, each whole or not at all; their names.

    Nothing to do where the results are shared. `UsageError` where they cannot be brought: then `clear` leaves them.
    `here`: of a launch whose command was killed, the runs that it had brought before; they are among the names.
    """
    if not place0.results:
        return ()
    question = _question(place0)
    runs = Path(launch.results) / "runs"
    names = (*here, *fetch(connections, _target(place0), question, (folder.path, runs)))
    with suppress(Trouble):  # they are here
        ask(connections, _target(place0), {**question, "do": "brought", "runs": names}, threading.Event())
    return names


def still_running(connections: Starter, places: Sequence[Place]) -> str:
    """A host on which a madrun of the launch has not ended, and its process, in words; empty where there is none."""
    answers = each_host(connections, places, _asked("running"))
    pids = {host: answer.get("pid") for host, answer in answers.items()}
    return next((f"{host}: its madrun (pid {pid}) has not ended there yet" for host, pid in pids.items() if pid), "")


def forget_private(connections: Starter, places: Sequence[Place]) -> None:
    """Removes the private file from all hosts, once every node has started; best effort."""
    each_host(connections, [place for place in places if not place.shared], _asked("forget"))


def clear(connections: Starter, places: Sequence[Place]) -> tuple[str, ...]:
    """Removes what was put on the hosts for this launch alone; what is kept by its content stays there.

    Where node 0's results have not come home they stay, on all hosts; `HOST:PATH` of each place that stays.
    """
    ours = [place for place in places if not place.shared or place.repository]
    kept: list[str] = []
    for node_0 in (True, False):
        some = [place for place in ours if (place is places[0]) == node_0]
        answers = each_host(connections, some, _asked("clear", keep=node_0 or bool(kept)))
        for place in some:
            answer = answers.get(place.host, {"kept": place.results})
            kept += [
                f"{place.host}:{printable(str(path))}" for path in (answer["kept"], *answer.get("left", ())) if path
            ]
    return tuple(kept)


def _asked(what: str, **more: object) -> Any:
    return lambda place: (_target(place), {**_question(place), "do": what, **more})


def _question(place: Place) -> dict[str, object]:
    below = f"launches/{place.launch}"
    return {
        "folder": place.base,
        "launch": place.launch,
        "to": below,
        "results": f"{below}/results",
        "script": f"{below}/files/{SCRIPT}",
        "private": f"{below}/files/{PRIVATE}",
    }


def _target(place: Place) -> Target:
    return Target(host=place.host, python=place.python)

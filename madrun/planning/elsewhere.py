"""A node's part of a saved plan where its repository lies at another place now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from madrun.spec.plan import Container, HostProcess, JobPlan, NodePlan


def at_repository(node: NodePlan, job: JobPlan, repository: str) -> NodePlan:
    """The part with every path of this host that leads into the repository leading into that one.

    Whether it holds the same files is for the caller to find out. Paths in a container, and what a user said in a
    variable, stay to the letter.
    """
    old = node.repository.rstrip("/")

    def moved(path: str) -> str:
        return repository + path[len(old) :] if old and (path == old or path.startswith(f"{old}/")) else path

    def each(paths: Mapping[str, str]) -> dict[str, str]:
        return {name: moved(path) for name, path in paths.items()}

    def container(one: Container) -> Container:
        return replace(one, mounts=tuple(replace(mount, source=moved(mount.source)) for mount in one.mounts))

    def process(one: HostProcess) -> HostProcess:
        env = {name: value if job.env.get(name) == value else moved(value) for name, value in one.env.items()}
        return replace(one, env=env)

    return replace(
        node,
        repository=repository,
        card_folder=moved(node.card_folder),
        data_sources=each(node.data_sources),
        mirrors=each(node.mirrors),
        mirror_root=moved(node.mirror_root),
        placed=each(node.placed),
        runner_config=moved(node.runner_config),
        checkout=tuple(replace(entry, source=moved(entry.source)) for entry in node.checkout),
        fetches={
            name: tuple(replace(one, place=moved(one.place)) if one.provider == "local" else one for one in ways)
            for name, ways in node.fetches.items()
        },
        container=node.container and container(node.container),
        process=node.process and process(node.process),
    )

"""The data of one run on this node: fetched where they are missing, looked at where they are there."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.errors import DataError
from madrun.node.console import Console, last_lines
from madrun.node.task import Reporter, Task
from madrun.runtimes.process import ProcessBox
from madrun.spec.data import Fetch
from madrun.spec.mad import WORKSPACE
from madrun.spec.plan import HostProcess, Mount, NodePlan
from madrun.spec.record import DataOutcome, NodeOutcome
from madrun.units import format_duration, format_size

if TYPE_CHECKING:  # most runs have no data
    from madrun.data.mirror import Filled
    from madrun.runtimes.docker import DockerBox

_LINE_EVERY_S, _LAST = 0.3, 5
_MOST_FILES = 5_000  # of data that lie here, whose size is added up for the record
# The lease of a script: the lines of its agent. It ends with them, and with its shell, which in a container is PID 1.
_LEASED = """cd "$2" || exit 97
bash -c "$1" </dev/null & child=$!
while kill -0 "$child" 2>/dev/null; do
  IFS= read -r -t 10 _ || { kill -KILL "$child"; exit 137; }
done
wait "$child\""""


class Supply:
    """What became of each name is in `outcomes`; `notes` are for the record."""

    def __init__(self, task: Task, node: NodePlan, folder: Path) -> None:
        self.notes: tuple[str, ...] = ()
        self._task, self._node, self._folder = task, node, folder
        self._found: dict[str, Filled] = {}

    @property
    def outcomes(self) -> tuple[DataOutcome, ...]:
        """Of each name, in order."""
        planned = {item.name: item.provider for item in self._task.plan.job.data}
        return tuple(
            DataOutcome(name=name, provider=one.provider or planned.get(name, ""), bytes=one.bytes, seconds=one.seconds)
            for name, one in self._found.items()
        )

    def fetch(self, name: str, check: Callable[[], None], reporter: Reporter) -> None:
        """Returns when the data are there, whoever fetched them; `DataError` with what was tried else."""
        from madrun.data.mirror import fill
        from madrun.data.work import Means

        target = Path(self._node.data_sources[name])
        if name in self._node.own_data:
            target.parent.mkdir(parents=True, exist_ok=True)
        task = self._task

        def script(fetch: Fetch, folder: Path, alive: Callable[[], None]) -> tuple[int, str]:
            return self._run(name, fetch, folder, alive)

        means = Means(check=check, tell=reporter.line, credentials=task.credentials, env=task.host_env, script=script)
        try:
            got = fill(target, self._node.fetches[name], means)
        except DataError as error:
            raise DataError(f"data {name} on {self._node.hostname}: {error}") from None
        if got.made:
            size = "" if got.bytes is None else f", {format_size(got.bytes)} in {format_duration(got.seconds)}"
            reporter.line(f"mirrored {name} to {target} by {got.provider}{size}")
        self._keep(name, got)

    def look(self) -> None:
        """At what is there and was not fetched by this node; `DataError` where it is not what it was when fetched."""
        for name, path in self._node.data_sources.items():
            target = Path(path)
            if name not in self._found and target.exists():
                from madrun.data import manifest
                from madrun.data.mirror import Filled, found

                fetches = self._node.fetches.get(name, ())
                # Data that are used where they lie have no manifest, and nobody expects one.
                try:
                    got = found(target, fetches) if fetches or manifest.read(target) else Filled()
                except DataError as error:
                    raise DataError(f"data {name} on {self._node.hostname}: {error}") from None
                self._keep(name, got if got.bytes is not None else replace(got, bytes=_size(target)))

    def _keep(self, name: str, got: Filled) -> None:
        self._found[name] = got
        self.notes += got.notes

    def _run(self, name: str, fetch: Fetch, folder: Path, alive: Callable[[], None]) -> tuple[int, str]:
        """Exit code and last lines of a script that fetches; what it prints is in `data-NAME.log`."""
        log = self._folder / f"data-{name.replace('/', '_')}.log"
        console = Console(log, tuple(self._task.secrets.values()))
        try:
            box = self._open(name, fetch, folder, console)
            code = None
            try:
                while (code := box.wait(_LINE_EVERY_S)) is None:
                    box.send(".")
                    alive()
            finally:
                if code is None:
                    box.kill()
                    box.wait(_LINE_EVERY_S)
        finally:
            console.close()
            self._hand_over(folder)
        said = "; ".join(line.strip() for line in last_lines(log)[-_LAST:] if line.strip())
        return code, f"{said} (all of it is in {log})" if said else ""

    def _open(self, name: str, fetch: Fetch, folder: Path, console: Console) -> DockerBox | ProcessBox:
        node, task = self._node, self._task
        env = {"MAD_DATANAME": name, "MAD_DATAHOME": str(folder)}
        if node.process is not None:
            text = f"bash {shlex.quote(f'{node.repository}/{fetch.place}')} {fetch.more}"
            command = ("bash", "-c", _LEASED, "madrun-data", text, str(folder))
            process = HostProcess(command=command, workdir=str(folder), env=node.process.env | env)
            return ProcessBox(process, task.secrets, console.write)
        from madrun.runtimes.docker import DockerBox

        assert node.container is not None
        home = next(item.home for item in task.plan.job.data if item.name == name)
        text = f"bash {shlex.quote(f'{WORKSPACE}/{fetch.place}')} {fetch.more}"
        container = replace(
            node.container,
            name=f"{node.container.name}-data",
            entrypoint=("bash",),
            command=("-c", _LEASED, "madrun-data", text, home),
            workdir="/",
            env=node.container.env | env | {"MAD_DATAHOME": home},
            mounts=(
                Mount(source=str(folder), target=home),
                Mount(source=node.repository, target=WORKSPACE, read_only=True),
            ),
            gpus="",
            cdi=(),
            devices=(),
        )
        return DockerBox(task.engine, container, task.secrets, console.write)

    def _hand_over(self, folder: Path) -> None:
        """Makes the user's own what a container wrote as root."""
        from madrun.node.workspace import foreign_files
        from madrun.runtimes.handover import hand_over

        node, task = self._node, self._task
        if node.container is not None and node.owner and foreign_files(folder, task.facts.uid):
            hand_over(task.engine, node.container.image, folder, node.owner)


def data_columns(outcomes: list[NodeOutcome]) -> dict[str, str]:
    """The columns of perf.csv about data: the providers that were really used, the size, and the time it took."""
    if not outcomes or not outcomes[0].data:
        return {}
    first = outcomes[0].data
    sizes = [one.bytes for one in first]
    seconds = max(sum(one.seconds for one in outcome.data) for outcome in outcomes)
    columns = {
        "data_provider_type": ",".join(one.provider for one in first),
        "data_download_duration": f"{seconds:.3f}",
    }
    return columns | {"data_size": "" if None in sizes else str(sum(size or 0 for size in sizes))}


def _size(path: Path) -> int | None:
    """In bytes; None where there are too many files to add them up."""
    from madrun.data import manifest

    total = 0
    try:
        for number, size in enumerate(manifest.each_size(path)):
            if number >= _MOST_FILES:
                return None
            total += size
    except OSError:
        return None
    return total

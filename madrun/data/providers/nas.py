"""Data of a file server over ssh: listed there, then fetched by rsync, or by tar where one side has no rsync."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from madrun.data import ssh
from madrun.data.manifest import Expected
from madrun.data.work import Progress, Unreachable
from madrun.errors import DataError, UsageError
from madrun.spec.credentials import NAS_NODES, Credentials
from madrun.spec.data import Fetch

LIMIT_S = 40 * 60.0
_NOT_THERE, _SSH_FAILED = 44, 255
_Files = dict[str, tuple[int, float]]  # size and time by name
# Kind, size, time and name of every file and link: the time only tells whether a file that is here is the same.
_LIST = """p={path}; [ -e "$p" ] || exit 44; command -v rsync >/dev/null && echo rsync || echo tar
if [ -d "$p" ]; then cd "$p" && find . '(' -type f -o -type l ')' -printf '%y %s %T@ %P\\0'
else find -H "$p" -printf 'f %s %T@ \\0'; fi"""
_TAR = """p={path}; if [ -d "$p" ]; then cd "$p" && tar -cf - --null -T -; else cat "$p"; fi"""


def read(settings: Mapping[str, Any], _repository: Path, credentials: Credentials) -> Fetch:
    """The path on the server."""
    servers = _servers(credentials)
    return Fetch(provider="nas", place=settings["path"], more=" ".join(server.host for server in servers))


def _servers(credentials: Credentials) -> list[ssh.Server]:
    try:
        entries = credentials.nas_nodes()
    except UsageError as error:
        raise Unreachable(str(error)) from None
    if shutil.which("ssh") is None:
        raise Unreachable("ssh is not installed on this host")
    if not entries:
        raise Unreachable(f"{NAS_NODES} is empty")
    return [ssh.server(entry) for entry in entries]


def fetch(fetch: Fetch, progress: Progress) -> dict[str, Expected]:
    """From the first server that answers and has the path."""
    reasons = []
    for server in _servers(progress.means.credentials):
        with ssh.client(server, progress.means.env) as client:
            try:
                has_rsync, found, links = _listed(client, fetch.place, progress)
            except Unreachable as error:
                reasons.append(f"{server.shown}: {error}")
                continue
            if has_rsync and shutil.which("rsync"):
                _rsync(client, fetch.place, set(found) == {""}, progress)
            else:
                _tar(client, fetch.place, (found, links), progress)
            return {name: Expected(size=size) for name, (size, _) in found.items()}
    raise Unreachable("; ".join(reasons))


def _listed(client: ssh.Client, path: str, progress: Progress) -> tuple[bool, _Files, list[str]]:
    """Whether rsync is there, size and time of each file, and the links."""
    with ssh.program(client.command(_LIST.format(path=shlex.quote(path))), client.env, progress.alive) as program:
        text = b"".join(iter(program.some, b""))
        code = program.finish()
        if code == _NOT_THERE:
            raise Unreachable(f"{path} does not exist there")
        if code:
            what = "ssh" if code == _SSH_FAILED else "listing"
            raise Unreachable(f"{what} failed with exit code {code}: {program.complaint() or 'nothing was said'}")
    tool, _, listed = text.partition(b"\n")
    found, links = {}, []
    for line in filter(None, listed.split(b"\0")):
        kind, size, when, name = line.decode("utf-8", "surrogateescape").split(" ", 3)
        if ".." in PurePosixPath(name).parts:
            raise DataError(f"the file {name!r} would lie outside of the data")
        if kind == "l":
            links.append(name)
        else:
            found[name] = (int(size), float(when))
    if not found:
        raise Unreachable(f"{path} holds no file")
    return tool == b"rsync", found, links


def _rsync(client: ssh.Client, path: str, single: bool, progress: Progress) -> None:
    """A file that was begun is gone on with."""
    host = f"[{client.server.host}]" if ":" in client.server.host else client.server.host
    origin = f"{host}:{path.rstrip('/') or '/'}" + ("" if single else "/")
    words = ["rsync", "-rlt", "--protect-args", "--partial", "--inplace", "--timeout=60", "--outbuf=L"]
    words += ["--out-format=%l %n", "-e", client.shell, "--", origin, str(progress.data) + ("" if single else "/")]
    with ssh.program(words, client.env, progress.alive) as program:
        text = b""
        while chunk := program.some():
            *lines, text = (text + chunk).split(b"\n")
            progress.add(sum(int(size) for line in lines if (size := line.partition(b" ")[0]).isdigit()))
        code = program.finish()
        if code:
            said = program.complaint()
            raise DataError(f"rsync from {client.server.shown} ended with exit code {code}: {said}; {progress.so_far}")


def _tar(client: ssh.Client, path: str, listed: tuple[_Files, list[str]], progress: Progress) -> None:
    """Files that are whole already are not sent again; links are."""
    found, links = listed
    if set(found) == {""}:
        with ssh.program(client.command(_TAR.format(path=shlex.quote(path))), client.env, progress.alive) as program:
            with progress.data.open("wb") as file:
                while chunk := program.some():
                    file.write(chunk)
                    progress.add(len(chunk))
            _demand(program, client, progress)
        return
    progress.data.mkdir(exist_ok=True)
    wanted = [name for name, (size, _) in found.items() if not _is_here(progress, name, found[name])]
    progress.keep(sum(found[name][0] for name in found.keys() - set(wanted)))
    wanted += links
    if not wanted:
        return
    import tarfile

    given = b"".join(f"./{name}\0".encode("utf-8", "surrogateescape") for name in wanted)
    with ssh.program(client.command(_TAR.format(path=shlex.quote(path))), client.env, progress.alive, given) as program:
        try:
            with tarfile.open(fileobj=cast(IO[bytes], program), mode="r|") as archive:
                for member in archive:
                    try:
                        archive.extract(member, progress.data, filter="data")
                    except (tarfile.LinkOutsideDestinationError, tarfile.AbsoluteLinkError):
                        progress.means.tell(f"{member.name}: leads out of the data, and is left out: {member.linkname}")
                    progress.journal.add(member.name.removeprefix("./"), member.size)
                    progress.add(member.size)
        except tarfile.TarError as error:
            program.finish()
            said = program.complaint() or error
            raise DataError(f"tar from {client.server.shown}: {said}; {progress.so_far}") from None
        _demand(program, client, progress)


def _is_here(progress: Progress, name: str, state: tuple[int, float]) -> bool:
    path = progress.data / name
    return (name, state[0]) in progress.journal and path.is_file() and int(path.stat().st_mtime) == int(state[1])


def _demand(program: ssh.Program, client: ssh.Client, progress: Progress) -> None:
    code = program.finish()
    if code:
        said = program.complaint()
        raise DataError(f"tar from {client.server.shown} ended with exit code {code}: {said}; {progress.so_far}")

"""Root file systems for the nodes of the test bed and for the jobs in them, made of what this machine has."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from e2e_parts import one_at_a_time

_SYSTEM = ("etc/alternatives", "etc/group", "etc/ld.so.cache", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs")
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FOLDERS = ("bed", "dev", "etc/docker", "node", "opt", "proc", "root", "run", "sys", "system", "tmp", "usr")
_FOLDERS += ("var/lib/docker",)
_TOOLS = ("bash", "cat", "chown", "dd", "env", "grep", "head", "mkdir", "rm", "setsid", "sh", "sleep", "touch", "tr")


def imported(client: Any, system: bytes, name: str, tag: str = "latest") -> str:
    """Id of the image that is this file system."""
    answer = client.import_image_from_data(system, name, tag)
    return str(json.loads(answer.splitlines()[-1])["status"])


def saved(client: Any, system: bytes, name: str) -> bytes:
    """The image of this file system as an archive: loaded anywhere it has one and the same id."""
    with one_at_a_time("saved-image"):  # the name is one for all tests of this machine
        image = imported(client, system, *name.split(":"))
        try:
            return b"".join(client.get_image(name))
        finally:
            client.remove_image(image, force=True)


def node_system() -> bytes:
    """A root file system that has nothing of its own but what /usr does not hold."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _skeleton(tar, _FOLDERS)
        _add_link(tar, "var/run", "../run")
        for name in _SYSTEM:
            if Path("/", name).exists():
                tar.add(Path("/", name), name)
    return buffer.getvalue()


def job_system() -> bytes:
    """A root file system with bash and a few tools of this machine, and the libraries that they need."""
    buffer = io.BytesIO()
    files = {shutil.which(tool, path="/usr/bin:/bin") for tool in _TOOLS} - {None}
    for file in sorted(map(str, files)):
        said = subprocess.run(["ldd", file], capture_output=True, text=True).stdout
        files |= {word for word in said.split() if word.startswith("/")}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _skeleton(tar, ("etc", "proc", "sys", "dev", "tmp", "root", "usr/bin"))
        for file in {str(Path(file).parent.resolve() / Path(file).name) for file in map(str, files)}:
            tar.add(Path(file).resolve(), file.lstrip("/"))
    return buffer.getvalue()


def no_system() -> bytes:
    """A root file system without a file, for an image whose one layer is laid over with another."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _skeleton(tar, ("tmp",))
    return buffer.getvalue()


def _skeleton(tar: tarfile.TarFile, folders: Sequence[str]) -> None:
    for name in folders:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        tar.addfile(entry)
    for name in _LINKS:
        if Path("/", name).is_symlink():
            _add_link(tar, name, f"usr/{name}")


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)

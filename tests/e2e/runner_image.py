"""The image with mpirun, accelerate and deepspeed, and nodes of their own whose job image has its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import ROOT
from three_nodes import LABEL, Node, nodes, sweep


def runners_image() -> str:
    """Its name; made where it is missing, in half a minute. Skips where it cannot be, which CI counts as a failure."""
    done = subprocess.run(["bash", str(ROOT / "scripts/runners_image.sh")], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs the image with mpirun, accelerate and deepspeed: {done.stderr}")
    return done.stdout.strip()


@contextmanager
def nodes_with_runners(client: Any, image: str, count: int = 2, binds: Sequence[str] = ()) -> Iterator[list[Node]]:
    """So many nodes whose engines have one job image with the files of `image`, which stay where they are.

    `binds`: further folders of this machine in all of them, `here:there`.
    """
    with files_of_image(client, image) as files, nodes(client, count, files, binds) as made:
        yield made


@contextmanager
def files_of_image(client: Any, image: str) -> Iterator[Path]:
    """Where the files of an image stand on this machine, for nodes whose job image has them."""
    sweep(client)
    holder = client.create_container(
        image, ["sleep", "infinity"], labels={LABEL: str(os.getpid())}, network_disabled=True
    )
    folder = Path(tempfile.mkdtemp(prefix="madrun-system-"))
    try:
        client.start(holder)
        yield _files_of(client, holder["Id"], folder)
    finally:
        client.remove_container(holder["Id"], force=True, v=True)
        shutil.rmtree(folder, ignore_errors=True)


def _files_of(client: Any, container: str, folder: Path) -> Path:
    """Where the root file system of a running container stands on this machine; a copy where its engine hides it."""
    seen = client.inspect_container(container).get("GraphDriver") or {}
    merged = Path((seen.get("Data") or {}).get("MergedDir") or folder)
    if (merged / "usr").is_dir():
        return merged
    with subprocess.Popen(["tar", "-xC", str(folder)], stdin=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        for chunk in client.export(container):
            tar.stdin.write(chunk)
    assert tar.returncode == 0
    return folder

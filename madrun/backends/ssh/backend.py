"""ssh: a connection to every node holds the lease of what runs there."""

from __future__ import annotations

import shlex
import subprocess
import threading

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh.settings import SshSettings, read
from madrun.spec.launch import BEAT_S, LEASE, SCRIPT, Launch, NodeStart

__all__ = ["conduct", "read", "render"]


def starts(launch: Launch, settings: SshSettings) -> list[NodeStart]:
    master = launch.master_addr or settings.names[0].rpartition("@")[2]
    return [NodeStart(rank, host, master) for rank, host in enumerate(settings.names)]


def node_command(launch: Launch, start: NodeStart) -> str:
    env = [f"{name}={shlex.quote(value)}" for name, value in {**start.env(), LEASE: "stdin"}.items()]
    return f"exec env {' '.join(env)} sh {shlex.quote(launch.folder)}/{SCRIPT}"


def render(launch: Launch, settings: SshSettings) -> dict[str, str]:
    lines = [f"ssh {start.host} {shlex.quote(node_command(launch, start))}" for start in starts(launch, settings)]
    return {"ssh.sh": "#!/bin/sh\n" + "".join(f"{line} &\n" for line in lines) + "wait\n"}


def conduct(folder: LaunchFolder, head: Head, detach: bool) -> int:
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    running = []
    for start in starts(launch, settings):
        log = (folder.path / f"node-{start.rank}.log").open("wb")
        out = None if start.rank == 0 else log
        words = ["ssh", "-T", "-o", "BatchMode=yes", "--", start.host, node_command(launch, start)]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True)
        running.append(child)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0 if head.stop.is_set() else BEAT_S):
            for child in running:
                assert child.stdin is not None
                try:
                    if head.stop.is_set():
                        child.stdin.close()
                    else:
                        child.stdin.write(b"\n")
                        child.stdin.flush()
                except OSError:
                    pass
            if head.stop.is_set():
                return

    threading.Thread(target=beat, daemon=True).start()
    codes = [child.wait() for child in running]
    done.set()
    folder.forget_private()
    return codes[0]

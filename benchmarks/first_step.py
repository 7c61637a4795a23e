"""From `madrun run` to the end of the first training step on three real nodes, with and without the nodes' names.

    python benchmarks/first_step.py [--repeats 3]

The nodes are those of tests/e2e (own address, own files, own docker engine). In half of the runs name servers do not
answer, as on many clusters' inner networks: torch then looks up the name of every address in vain, unless the
containers know the names (`--add-host`). Each row: median and maximum of seconds until the first step has ended.
Needs an image with torch (default: the base image of scripts/) and about 1.5 GiB of memory for each node.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from three_nodes import Node, nodes  # noqa: E402 - the test bed lies beside the tests

CARD = "llama2_7b_tiny"
END_OF_STEP = "all up to the end of the first step"
LIMIT_S = 300.0
_RULE = ("INPUT", "-p", "udp", "--dport", "53", "-j", "DROP")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--image", default="", help="an image with torch; default: the base image of scripts/")
    options = parser.parse_args()
    import docker

    client = docker.APIClient()
    with nodes(client, 3) as hosts:
        image = options.image or base_image()
        for host in hosts:
            host.engine.load(b"".join(client.get_image(image)))
        ports = iter(range(29600, 65000, 10))
        print(f"{'':<44} {'median':>8} {'max':>8}")
        for answering in (True, False):
            print(f"a look-up of another node's address takes {set_name_servers(hosts, answering):.1f} s", flush=True)
            rows: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(options.repeats):
                for named in (True, False):
                    rows[named].append(first_step(hosts, image, next(ports), named))
            for named, seconds in rows.items():
                what = (
                    f"name servers {'answer' if answering else 'are silent'}, {'names given' if named else 'no names'}"
                )
                print(f"{what:<44} {statistics.median(seconds):8.2f} {max(seconds):8.2f}", flush=True)


def base_image() -> str:
    """Name of the base image that scripts/base_image.sh makes."""
    script = ROOT / "scripts/base_image.sh"
    return subprocess.run(["bash", str(script)], check=True, capture_output=True, text=True).stdout.strip()


def set_name_servers(hosts: list[Node], answering: bool) -> float:
    """Leaves the nodes their name server, or names one that drops every question; seconds of one look-up."""
    if not answering:
        hosts[2].run("iptables", "-A", *_RULE)
        for host in hosts:
            host.run("sh", "-c", f"echo nameserver {hosts[2].address} >/etc/resolv.conf")
    started = time.monotonic()
    hosts[0].run("getent", "hosts", hosts[1].address, check=False)
    return time.monotonic() - started


def first_step(hosts: list[Node], image: str, port: int, named: bool) -> float:
    """Seconds from the start of the commands until node 0's log tells of the end of the first step."""
    started = time.monotonic()
    commands = [start(host, hosts, image, port, named) for host in hosts]
    try:
        while END_OF_STEP not in commands[0].output:
            if time.monotonic() - started > LIMIT_S or commands[0].child.poll() not in (None, 0):
                sys.exit(f"no first step within {LIMIT_S:g} s:\n{commands[0].output}")
            time.sleep(0.02)
        seconds = time.monotonic() - started
        codes = [command.wait(LIMIT_S) for command in commands]
        if any(codes):
            sys.exit(f"the run ended with {codes}:\n{commands[0].output}")
    finally:
        for host in hosts:
            host.clean()
    return seconds


def start(host: Node, hosts: list[Node], image: str, port: int, named: bool) -> Any:
    """`madrun run` on one node."""
    args = {"MASTER_ADDR": hosts[0].address, "MASTER_PORT": port, "NNODES": len(hosts), "NODE_RANK": host.number}
    context: dict[str, Any] = {"multi_node_args": args, "MAD_CONTAINER_IMAGE": image, "shm_size": "64m"}
    context |= {} if named else {"docker_drop": ["hosts"]}
    return host.start("run", "--repo", str(ROOT), "--tags", CARD, "-c", str(context))


if __name__ == "__main__":
    main()

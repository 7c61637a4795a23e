"""Which interface is chosen on hosts that have several, and what is said of it; network namespaces stand for hosts."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cabled import ip, namespaces

pytestmark = [pytest.mark.e2e, pytest.mark.beside]
SCRIPT = 'echo "told $NODE_RANK $GLOO_SOCKET_IFNAME $NCCL_SOCKET_IFNAME ${NCCL_SOCKET_FAMILY:-}"\n'
MEASURED = SCRIPT + "echo performance: 3 speed\n"


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces with two cables: `mgmt0` and `mgmt1`, `fast0` and `fast1`; no address yet."""
    names = (f"madrun-{os.getpid()}-e", f"madrun-{os.getpid()}-f")
    with namespaces(names):
        for link in ("mgmt", "fast"):
            ends = (f"{link}0", f"{link}1")
            ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1])
            for name, end in zip(names, ends, strict=True):
                ip("-n", name, "link", "set", end, "up")
        yield names


def address(host: str, cidr: str, link: str) -> None:
    """Gives the interface the address; one of IPv6 at once, without asking whether another has it."""
    ip("-n", host, "addr", "add", cidr, "dev", link, *(["nodad"] if ":" in cidr else []))


def start(repository: Any, host: str, *words: str, **args: object) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", host, sys.executable, "-m", "madrun", *words, "--tags", "pair"]
    command += ["--runtime", "process", "-c", str({"multi_node_args": args})]
    child = subprocess.Popen(
        command,
        cwd=repository.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    repository.started.append(child)
    return child


def both(repository: Any, hosts: tuple[str, str], master: str) -> tuple[str, str, dict[str, Any]]:
    """Of a run that is a success what node 1 printed, what the scripts wrote, and the record."""
    repository.add("pair", MEASURED)
    nodes = [
        start(repository, host, "run", "--results", f"results-{rank}", MASTER_ADDR=master, NNODES=2, NODE_RANK=rank)
        for rank, host in enumerate(hosts)
    ]
    outputs = [node.communicate(timeout=120)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n---\n".join(outputs)
    (file,) = repository.folder.glob("results-0/runs/*/record.json")
    told = "".join(path.read_text() for path in repository.folder.glob("results-*/runs/*/node-*/console.log"))
    return outputs[1], told, json.loads(file.read_text())


def test_the_masters_network_is_taken_though_a_route_leads_elsewhere(
    host_repository: Any, hosts: tuple[str, str]
) -> None:
    for rank, host in enumerate(hosts):
        address(host, f"10.231.85.{rank + 1}/24", f"mgmt{rank}")
        address(host, f"10.231.86.{rank + 1}/24", f"fast{rank}")
    ip("-n", hosts[1], "route", "add", "10.231.86.1/32", "via", "10.231.85.1", "dev", "mgmt1")
    second, told, record = both(host_repository, hosts, "10.231.86.1")
    assert "told 0 fast0 =fast0 \n" in told
    assert "told 1 fast1 =fast1 \n" in told
    assert (
        "leads over mgmt1 (10.231.85.0/24), but 10.231.86.1 lies in 10.231.86.0/24 of fast1, which is taken" in second
    )
    assert [at for _, at in record["gate"]["hosts"]] == ["10.231.86.1", "10.231.86.2"]


def test_hosts_of_ipv6_alone_are_one_run_and_nccl_is_told_the_family(
    host_repository: Any, hosts: tuple[str, str]
) -> None:
    for rank, host in enumerate(hosts):
        address(host, f"fd00:231::{rank + 1}/64", f"fast{rank}")
    _, told, record = both(host_repository, hosts, "fd00:231::1")
    assert "told 0 fast0 =fast0 AF_INET6\n" in told
    assert "told 1 fast1 =fast1 AF_INET6\n" in told
    assert [at for _, at in record["gate"]["hosts"]] == ["fd00:231::1", "fd00:231::2"]


def test_nodes_in_two_networks_run_and_both_are_named(host_repository: Any, hosts: tuple[str, str]) -> None:
    for rank, host in enumerate(hosts):
        address(host, f"10.231.{87 + rank}.1/24", f"fast{rank}")
        ip("-n", host, "route", "add", f"10.231.{88 - rank}.0/24", "dev", f"fast{rank}")
    second, _, record = both(host_repository, hosts, "10.231.87.1")
    assert "lies in no network of this host: fast1 (10.231.88.0/24) reaches it through a router" in second
    (note,) = (note for note in record["gate"]["notes"] if "network" in note)
    assert "10.231.87.0/24 on node 0, 10.231.88.0/24 on node 1" in note


def test_a_bridge_for_containers_on_the_route_is_a_note_with_the_candidates(
    host_repository: Any, hosts: tuple[str, str]
) -> None:
    """The file system of the kernel itself says what docker0 is: it has parts, and none of them leads out."""
    host_repository.add("pair", MEASURED)
    address(hosts[0], "10.231.85.1/24", "mgmt0")
    ip("-n", hosts[0], "link", "add", "docker0", "type", "bridge")
    ip("-n", hosts[0], "link", "set", "fast0", "master", "docker0")
    ip("-n", hosts[0], "link", "set", "docker0", "up")
    address(hosts[0], "172.17.0.1/16", "docker0")
    wanted = {"MASTER_ADDR": "172.17.0.4", "NNODES": 2, "NODE_RANK": 1}
    output, _ = start(host_repository, hosts[0], "plan", **wanted).communicate(timeout=120)
    assert "docker0 (172.17.0.0/16) is a bridge for containers of this host, and leads nowhere else" in output
    assert "GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME: mgmt0 (10.231.85.0/24)" in output
    ip("-n", hosts[0], "addr", "flush", "dev", "fast0")
    part = start(host_repository, hosts[0], "run", GLOO_SOCKET_IFNAME="fast0")
    output, _ = part.communicate(timeout=120)
    assert part.returncode == 4, output
    assert "no interface fast0 with an address (it is there, and has none: a part of bridge docker0)" in output
    assert "it has: lo (127.0.0.0/8, ::1/128), mgmt0 (10.231.85.0/24), docker0 (172.17.0.0/16)" in output


KINDS = {
    "bond": ("bond", ()),
    "vlan": ("vlan", ("link", "mgmt0", "id", "7")),
    "wireguard": ("wireguard", ()),
    "bridge": ("bridge", ()),
    "vxlan": ("vxlan", ("id", "7", "dstport", "4789", "dev", "mgmt0")),
    "dummy": ("virtual", ()),
}


def test_what_this_kernel_can_make_is_told_apart(hosts: tuple[str, str]) -> None:
    """Of the kinds that users have those that the kernel of this machine knows, at least one."""
    made = {}
    for place, (kind, (expected, words)) in enumerate(KINDS.items()):
        name = f"x{place}"
        link = words[:2] if words[:1] == ("link",) else ()
        command = ["ip", "-n", hosts[0], "link", "add", *link, "name", name, "type", kind, *words[len(link) :]]
        if subprocess.run(command, capture_output=True).returncode == 0:
            made[name] = expected
            ip("-n", hosts[0], "link", "set", name, "up")
            address(hosts[0], f"10.231.{100 + place}.1/24", name)
    look = (
        "from madrun.probe.interfaces import interfaces; print({i.name: (i.kind, i.networks[0]) for i in interfaces()})"
    )
    command = ["ip", "netns", "exec", hosts[0], sys.executable, "-c", look]
    found = ast.literal_eval(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert made
    assert {name: found[name] for name in made} == {
        name: (kind, f"10.231.{100 + int(name[1:])}.0/24") for name, kind in made.items()
    }

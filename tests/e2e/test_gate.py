"""What does not fit together is refused on every node, at once, in words, and before anything has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cabled import cabled, ip
from e2e_parts import until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
ADDRESSES = ("10.231.78.1", "10.231.78.2")
# libfaketime would do it for the whole process, but breaks its sleeping (Python 3.11 sleeps until a time).
AHEAD = (
    "import runpy, sys, time; real = time.time; time.time = lambda: real() + 90; sys.argv[0] = 'madrun'; "
    "runpy.run_module('madrun', run_name='__main__')"
)
SCRIPT = "touch started\necho performance: 3 speed\n"


@dataclass
class Hosts:
    """Two network namespaces with a cable between them, each with a repository and mounts of its own."""

    names: tuple[str, str]
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def repository(self, rank: int) -> Path:
        return self.folder / f"host-{rank}"

    def add(self, name: str, text: str = SCRIPT, **data: Any) -> None:
        """The same card on both hosts; `data` makes its data.json."""
        for rank in (0, 1):
            self.change(rank, name, text)
            if data:
                (self.repository(rank) / "data.json").write_text(json.dumps(data))

    def change(self, rank: int, name: str, text: str, yaml: str = "") -> None:
        """The card on one host."""
        home = self.repository(rank) / "models" / name
        home.mkdir(parents=True, exist_ok=True)
        (home / "run.sh").write_text(text)
        (home / "model.yaml").write_text(f"name: {name}\nscript: run.sh\n{yaml}")

    def start(
        self,
        rank: int,
        *words: str,
        args: dict[str, Any] | None = None,
        binds: Sequence[tuple[Path, Path]] = (),
        under: Sequence[str] = (),
        program: Sequence[str] = ("-m", "madrun"),
    ) -> None:
        """`madrun run` on one host, where `binds` are mounted for this process alone.

        `under` is a command that starts it, `program` what Python is given.
        """
        given = {"MASTER_ADDR": ADDRESSES[0], "NNODES": 2, "NODE_RANK": rank} | (args or {})
        usual = {"--runtime": "process", "--results": "results", "--join-timeout": "15m"}
        options = [word for name, value in usual.items() if name not in words for word in (name, value)]
        command = [*under, sys.executable, *program, "run", *options, *words, "-c", str({"multi_node_args": given})]
        mounting = "".join(f"mount --bind {source} {target}; " for source, target in binds)
        shell = ["unshare", "-m", "bash", "-c", mounting + 'exec "$@"', "bash"]
        with self.file(rank).open("w") as target:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.names[rank], *shell, *command],
                cwd=self.repository(rank),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.started.append(child)

    def file(self, rank: int) -> Path:
        return self.folder / f"out-{rank}.txt"

    def output(self, rank: int) -> str:
        return self.file(rank).read_text()

    def ran(self) -> bool:
        """Whether any script was started on any host."""
        return bool(list(self.folder.glob("host-*/results/runs/*/node-*/box/work/started"))) or bool(
            list(self.folder.glob("host-*/results/runs/*/node-*/output/started"))
        )

    def refused(self, words: Sequence[str], codes: tuple[int, int] = (3, 3)) -> None:
        """Both end with their code and these words, long before the limit of the join, and no script has run."""
        found = tuple(child.wait(60) for child in self.started)
        shown = "\n---\n".join(self.output(rank) for rank in (0, 1))
        assert found == codes, shown
        assert [(rank, word) for rank in (0, 1) for word in words if word not in self.output(rank)] == [], shown
        assert not self.ran()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    names = (f"madrun-{os.getpid()}-c", f"madrun-{os.getpid()}-d")
    made = Hosts(names, tmp_path)
    for rank in (0, 1):
        made.repository(rank).mkdir()
    with cabled(names, ADDRESSES):
        try:
            yield made
        finally:
            for child in made.started:
                if child.poll() is None:
                    child.kill()
                child.wait(60)


def block(host: str, *rule: str) -> None:
    """A rule of this host's firewall."""
    subprocess.run(["ip", "netns", "exec", host, "iptables", "-A", *rule], check=True, capture_output=True)


def test_nodes_that_fit_run_and_the_record_says_what_was_found(hosts: Hosts) -> None:
    hosts.add("pair")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair")
    assert [child.wait(120) for child in hosts.started] == [0, 0], hosts.output(0) + hosts.output(1)
    (file,) = hosts.folder.glob("host-0/results/runs/*/record.json")
    gate = json.loads(file.read_text())["gate"]
    assert [address for _, address in gate["hosts"]] == list(ADDRESSES)
    assert (gate["tried"], gate["unreachable"]) == (2, [])
    assert set(gate["offsets_s"]) == {"0", "1"}
    assert abs(gate["offsets_s"]["1"]) < 20  # of one and the same clock; the less the sooner node 0 answers


def test_another_version_of_the_cards_code_is_refused(hosts: Hosts) -> None:
    hosts.add("pair")
    hosts.change(1, "pair", "# newer\n" + SCRIPT)
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair")
    hosts.refused(["script files (hash) differs", "bring the checkouts to one commit"])


def test_other_timeouts_are_named_by_their_values(hosts: Hosts) -> None:
    hosts.add("pair")
    for rank, limit in enumerate(("1h", "90m")):
        hosts.start(rank, "--tags", "pair", "--timeout", limit)
    hosts.refused(["timeout differs: 1h00m on node 0, 1h30m on node 1"])


def test_another_master_port_is_refused(hosts: Hosts) -> None:
    hosts.add("pair")
    for rank, port in enumerate((29611, 29613)):
        hosts.start(rank, "--tags", "pair", args={"MASTER_PORT": port, "CONTROL_PORT": 29612})
    hosts.refused(["MASTER_PORT differs: 29611 on node 0, 29613 on node 1"])


def test_another_address_of_node_0_is_said_at_once(hosts: Hosts) -> None:
    ip("-n", hosts.names[0], "addr", "add", "10.231.78.9/24", "dev", "fab0")
    hosts.add("pair")
    for rank, address in enumerate((ADDRESSES[0], "10.231.78.9")):
        hosts.start(rank, "--tags", "pair", args={"MASTER_ADDR": address})
    hosts.refused(["MASTER_ADDR differs", "called 10.231.78.9", "one IP address of node 0"])


def test_a_name_that_means_loopback_on_node_0_is_an_error_that_names_the_line(hosts: Hosts, tmp_path: Path) -> None:
    hosts.add("pair")
    table = tmp_path / "hosts"
    table.write_text("127.0.0.1 localhost\n127.0.1.1 headnode\n")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", args={"MASTER_ADDR": "headnode"}, binds=[(table, Path("/etc/hosts"))])
    hosts.refused(["/etc/hosts:2 maps to 127.0.1.1"], (4, 4))
    assert f"{ADDRESSES[0]} (fab0)" in hosts.output(0)
    assert "MASTER_ADDR is this very machine" in hosts.output(1)


def test_an_address_where_no_host_is_is_said_within_seconds(hosts: Hosts) -> None:
    hosts.add("pair")
    hosts.start(0, "--tags", "pair", args={"MASTER_ADDR": "10.231.78.77"})
    hosts.start(1, "--tags", "pair", args={"MASTER_ADDR": "10.231.78.77"})
    hosts.refused(["10.231.78.77", "multi_node_args.MASTER_ADDR"], (4, 4))
    assert "is not an address of this host" in hosts.output(0)
    assert "cannot reach" in hosts.output(1)


def test_a_port_that_a_firewall_drops_is_said_while_the_wait_goes_on(hosts: Hosts) -> None:
    hosts.add("pair")
    block(hosts.names[0], "INPUT", "-p", "tcp", "--dport", "29502", "-i", "fab0", "-j", "DROP")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", "--join-timeout", "15s")
    hosts.refused(["29502"])
    meanwhile, _, at_last = hosts.output(1).partition("error: ")
    assert "a firewall" in meanwhile
    assert "a firewall" in at_last
    assert "node 1 of 2 had not joined" in hosts.output(0)


def test_loopback_from_another_host_is_named(hosts: Hosts) -> None:
    hosts.add("pair")
    for rank, address in enumerate((ADDRESSES[0], "127.0.0.1")):
        hosts.start(rank, "--tags", "pair", "--join-timeout", "15s", args={"MASTER_ADDR": address})
    hosts.refused(["not"])
    assert "MASTER_ADDR is this very machine" in hosts.output(1).partition("error: ")[0]


def test_nodes_that_reach_each_other_one_way_only_are_refused_with_both_directions(hosts: Hosts) -> None:
    hosts.add("pair")
    block(hosts.names[1], "INPUT", "-p", "tcp", "--syn", "-i", "fab1", "-j", "DROP")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair")
    hosts.refused(
        [
            "1 of 2 connections between the nodes do not come about",
            "fab0 10.231.78.1) -> node 1",
            "fab1 10.231.78.2)",
            "no packet came back within 1.5 s",
            "the other way round works",
            "firewall",
        ],
    )


def test_an_interface_that_a_node_lacks_is_an_error_there_and_told_to_the_other(hosts: Hosts) -> None:
    hosts.add("pair")
    for rank, name in enumerate(("fab0", "fab0")):
        hosts.start(rank, "--tags", "pair", args={"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": "=" + name})
    hosts.refused(["GLOO_SOCKET_IFNAME: this host has no interface fab0", "it has:", "fab1"], (3, 4))


def test_a_master_port_that_is_taken_is_named_with_who_has_it(hosts: Hosts) -> None:
    hosts.add("pair")
    listen = "import socket,time; s = socket.create_server(('', 29501)); print('up', flush=True); time.sleep(600)"
    command = ["ip", "netns", "exec", hosts.names[0], sys.executable, "-c", listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "up\n"
            for rank in (0, 1):
                hosts.start(rank, "--tags", "pair")
            words = f"MASTER_PORT: 29501 is in use on this host by process {other.pid}"
            hosts.refused([words, "create_server"], (4, 3))
        finally:
            other.kill()


def test_a_clock_that_is_ahead_is_a_note_with_the_figure(hosts: Hosts) -> None:
    hosts.add("pair")
    hosts.start(0, "--tags", "pair")
    hosts.start(1, "--tags", "pair", program=["-c", AHEAD])
    assert [child.wait(120) for child in hosts.started] == [0, 0], hosts.output(0) + hosts.output(1)
    (file,) = hosts.folder.glob("host-0/results/runs/*/record.json")
    record = json.loads(file.read_text())
    assert 60 < record["gate"]["offsets_s"]["1"] < 120
    assert any("ahead of that of node 0" in note for note in record["notes"])
    assert "s ahead of that of node 0" in hosts.output(0)


def test_a_privileged_port_is_named_on_both_nodes(hosts: Hosts) -> None:
    hosts.add("pair")
    without = ("setpriv", "--bounding-set", "-net_bind_service")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", args={"MASTER_PORT": 80, "CONTROL_PORT": 29502}, under=without)
    hosts.refused(["MASTER_PORT: 80 is privileged on this host: ports below 1024 are for root"], (4, 3))


def test_a_node_without_an_engine_tells_the_one_that_waits_for_it(hosts: Hosts, engine: Any, base_image: str) -> None:
    hosts.add("pair")
    for rank, under in enumerate(((), ("env", "DOCKER_HOST=unix:///none.sock"))):
        hosts.change(rank, "pair", SCRIPT, f"images: {{cpu: {{image: '{base_image}'}}}}\n")
        hosts.start(rank, "--tags", "pair", "--runtime", "docker", under=under)
        until(lambda: "joined: node 0" in hosts.output(0), 60, "node 0")
    hosts.refused(["no docker engine answers at", "none.sock"], (3, 2))


def test_a_node_that_lacks_a_mount_tells_the_one_that_waits_for_it(hosts: Hosts, tmp_path: Path) -> None:
    hosts.add("pair")
    (tmp_path / "mine").mkdir()
    hosts.start(0, "--tags", "pair", binds=[(tmp_path / "mine", tmp_path / "mine")])
    until(lambda: "joined: node 0" in hosts.output(0), 60, "node 0")
    hosts.start(1, "--tags", "pair", "--mount", f"{tmp_path}/none:{tmp_path}/none")
    hosts.refused([f"{tmp_path}/none", "does not exist on this host"], (3, 4))
    assert "could not begin" in hosts.output(0)


# --- paths that must be shared -------------------------------------------------------------------


def with_data(hosts: Hosts, contents: tuple[str | None, str | None], where: Path) -> list[list[tuple[Path, Path]]]:
    """A card with data at `where` on both hosts, each with its own content there; the mounts of each host."""
    where.mkdir()
    hosts.add("pair", corpus={"local": {"path": str(where / "corpus")}})
    binds = []
    for rank, content in enumerate(contents):
        hosts.change(rank, "pair", SCRIPT, "data: [corpus]\n")
        own = hosts.folder / f"disk-{rank}"
        own.mkdir()
        if content is not None:
            (own / "corpus").mkdir()
            (own / "corpus" / "text.bin").write_text(content)
        binds.append([(own, where)])
    return binds


def test_data_that_differ_are_refused_with_path_and_file_systems(hosts: Hosts, tmp_path: Path) -> None:
    binds = with_data(hosts, ("alice", "malic"), tmp_path / "data")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", binds=binds[rank])
    hosts.refused(["data corpus is not the same on all nodes", "text.bin", f"{tmp_path}/data/corpus", "rsync"])
    assert f" at {tmp_path}/data)" in hosts.output(1)


def test_no_container_is_made_where_data_differ(hosts: Hosts, tmp_path: Path, engine: Any, base_image: str) -> None:
    where = tmp_path / "data"
    binds = with_data(hosts, ("alice", "malic"), where)
    for rank in (0, 1):
        yaml = f"data: [corpus]\nimages: {{cpu: {{image: '{base_image}'}}}}\n"
        hosts.change(rank, "pair", SCRIPT, yaml)
    begun = int(time.time())
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", "--runtime", "docker", binds=binds[rank])
    hosts.refused(["data corpus is not the same on all nodes"])
    (run,) = (hosts.repository(0) / "results/runs").iterdir()
    filters = {"type": "container", "label": f"madrun.run={run.name}"}
    assert list(engine.events(since=begun, until=int(time.time()) + 1, filters=filters, decode=True)) == []


def test_mounts_that_are_not_shared_are_a_note_of_the_record(hosts: Hosts, tmp_path: Path, base_image: str) -> None:
    mounted = tmp_path / "out"
    mounted.mkdir()
    hosts.add("pair")
    for rank in (0, 1):
        hosts.change(rank, "pair", SCRIPT, f"images: {{cpu: {{image: '{base_image}'}}}}\n")
        own = tmp_path / f"out-{rank}"
        own.mkdir()
        words = ("--tags", "pair", "--runtime", "docker", "--mount", f"{mounted}:/out")
        hosts.start(rank, *words, binds=[(own, mounted)])
    assert [child.wait(120) for child in hosts.started] == [0, 0], hosts.output(0) + hosts.output(1)
    assert "docker_mounts /out is not one directory for all nodes" in hosts.output(0)
    (file,) = hosts.folder.glob("host-0/results/runs/*/record.json")
    assert any("docker_mounts /out" in note for note in json.loads(file.read_text())["notes"])
    assert [list((tmp_path / f"out-{rank}").iterdir()) for rank in (0, 1)] == [[], []]


def test_a_mirror_directory_that_is_not_shared_is_refused_and_named_with_the_way_out(
    hosts: Hosts, tmp_path: Path
) -> None:
    binds = with_data(hosts, ("alice", "alice"), tmp_path / "data")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for rank in (0, 1):
        own = tmp_path / f"mirror-{rank}"
        own.mkdir()
        hosts.start(rank, "--tags", "pair", "--force-mirror-local", str(mirror), binds=[*binds[rank], (own, mirror)])
    hosts.refused(
        ["--force-mirror-local is not one directory for all nodes", str(mirror), f"at {mirror})", "--local-data"]
    )
    assert [list((tmp_path / f"mirror-{rank}").iterdir()) for rank in (0, 1)] == [[], []]


def test_with_local_data_each_node_fills_its_own_mirror(hosts: Hosts, tmp_path: Path) -> None:
    binds = with_data(hosts, ("alice", "alice"), tmp_path / "data")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for rank in (0, 1):
        own = tmp_path / f"mirror-{rank}"
        own.mkdir()
        words = ("--tags", "pair", "--local-data", "--force-mirror-local", str(mirror))
        hosts.start(rank, *words, binds=[*binds[rank], (own, mirror)])
    assert [child.wait(120) for child in hosts.started] == [0, 0], hosts.output(0) + hosts.output(1)
    assert [(tmp_path / f"mirror-{rank}/corpus/text.bin").read_text() for rank in (0, 1)] == ["alice"] * 2


def test_a_shared_mirror_is_filled_by_the_node_that_has_the_source(hosts: Hosts, tmp_path: Path) -> None:
    binds = with_data(hosts, (None, "alice"), tmp_path / "data")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", "--force-mirror-local", str(mirror), binds=binds[rank])
    assert [child.wait(120) for child in hosts.started] == [0, 0], hosts.output(0) + hosts.output(1)
    assert "mirrored corpus" in hosts.output(1)
    assert "mirrored corpus" not in hosts.output(0)
    assert sorted(path.name for path in mirror.iterdir()) == [".corpus.manifest.json", "corpus"]


def test_a_mirror_directory_that_is_missing_is_never_made(hosts: Hosts, tmp_path: Path) -> None:
    binds = with_data(hosts, ("alice", "alice"), tmp_path / "data")
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", "--force-mirror-local", str(tmp_path / "none"), binds=binds[rank])
    hosts.refused([f"--force-mirror-local: {tmp_path}/none does not exist on this host"], (2, 2))
    assert not (tmp_path / "none").exists()


# Adapters over /sys/class and a device file that is that of /dev/null, for this process and what it starts alone.
PLANTED = """
cp -a /sys/class/net "$1"; mount --bind "$1" /sys/class
mkdir "$1/dev"; mount -t tmpfs none "$1/dev"; cp -a /dev/null /dev/zero /dev/urandom "$1/dev"
ln -s /proc/self/fd "$1/dev/fd"; mkdir "$1/dev/shm" "$1/dev/infiniband"
mknod "$1/dev/infiniband/uverbs0" c 1 3; mount --move "$1/dev" /dev
shift; exec "$@"
"""


def with_adapters(hosts: Hosts, rank: int, *states: str) -> list[str]:
    """The command under which this host has an adapter for each state."""
    home = hosts.folder / f"class-{rank}"
    for index, state in enumerate(states):
        port = home / f"infiniband/mlx5_{index}/ports/1"
        port.mkdir(parents=True)
        words = {"state": state, "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)", "link_layer": "InfiniBand"}
        for name, text in words.items():
            (port / name).write_text(f"{text}\n")
    return ["bash", "-ec", PLANTED, "bash", str(home)]


UP, INIT = "4: ACTIVE", "2: INIT"
RDMA = {"TRANSPORT": "rdma", "RUNNER": "plain"}


def test_a_node_whose_adapters_are_not_up_refuses_rdma_and_the_others_hear_of_it(hosts: Hosts) -> None:
    hosts.add("pair")
    hosts.start(0, "--tags", "pair", args=RDMA, under=with_adapters(hosts, 0, UP))
    hosts.start(1, "--tags", "pair", args=RDMA, under=with_adapters(hosts, 1, INIT))
    hosts.refused(["no RDMA port of this host can be used: mlx5_0:1: state INIT: no subnet manager"], (3, 4))
    assert "node 1 (" in hosts.output(0)


def test_adapters_that_differ_between_nodes_refuse_rdma(hosts: Hosts) -> None:
    hosts.add("pair")
    hosts.start(0, "--tags", "pair", args=RDMA, under=with_adapters(hosts, 0, UP, UP))
    hosts.start(1, "--tags", "pair", args=RDMA, under=with_adapters(hosts, 1, UP, INIT))
    words = "RDMA ports that carry the job differ: 2 x infiniband 400 Gb/s on node 0, 1 x infiniband 400 Gb/s on node 1"
    hosts.refused([words])


def test_what_rdma_lacks_around_the_script_is_found_before_anything_starts(hosts: Hosts) -> None:
    hosts.add("pair")
    program, library = hosts.folder / "bin/ibv_devinfo", hosts.folder / "lib/libibverbs.so.1"
    for file, text in ((program, "#!/bin/bash\necho No IB devices found >&2\nexit 255\n"), (library, "")):
        file.parent.mkdir()
        file.write_text(text)
        file.chmod(0o755)
    variables = [f"PATH={program.parent}:{os.environ['PATH']}", f"LD_LIBRARY_PATH={library.parent}"]
    for rank in (0, 1):
        hosts.start(rank, "--tags", "pair", args=RDMA, under=[*with_adapters(hosts, rank, UP), "env", *variables])
    hosts.refused(
        ["rdma: TRANSPORT rdma, and on node ", "ibv_devinfo fails with code 255 (No IB devices found)"], (2, 2)
    )

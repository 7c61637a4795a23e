"""Clock, load, engine, disks, names, RDMA's surroundings, and the source itself."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.health import clock, disks, engine, load, names, people, rdma
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.facts import Engine


class Telling(Source):
    """`said`: what a tool prints, what the engine answers, or the kernel's clock."""

    def __init__(self, root, said):
        super().__init__(root)
        self._said = said

    def run(self, argv):
        return self._said

    def engine_info(self, name):
        return self._said

    def timex(self):
        return self._said

    def addresses_of(self, name):
        return self._said


def test_the_clock_of_this_machine_agrees_with_what_the_kernel_returns():
    """adjtimex(2) returns 5 (TIME_ERROR) exactly where the clock is not synchronised, and little else goes wrong."""
    import ctypes

    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    found = clock.clock(Source())
    assert found.synchronised or state == 5
    assert found.largest_error >= 0


def test_a_clock_that_is_kept_is_told_with_its_largest_error(tmp_path):
    import struct

    kept = struct.pack("=I4xqqqqi4x", 0, 0, 0, 1500, 700, 0x2001).ljust(208, b"\0")
    found = clock.clock(Telling(tmp_path, kept))
    assert (found.synchronised, found.largest_error) == (True, pytest.approx(0.0015))


@pytest.mark.slow
@given(st.binary(max_size=300))
def test_any_answer_of_the_clock_is_read_or_refused(answer):
    try:
        assert clock.clock(Telling(None, answer)).largest_error >= 0
    except Unreadable:
        assert len(answer) < 48 or answer


class TwoLooks(Source):
    """A host with four CPUs, whose processes have used these seconds of CPU time each when 2 s have gone."""

    def __init__(self, host, seconds):
        super().__init__(host.root)
        self._host, self._seconds = host, seconds
        self.write({pid: 0.0 for pid in seconds if pid != 9})

    def write(self, seconds):
        ticks = {pid: int(value * os.sysconf("SC_CLK_TCK")) for pid, value in seconds.items()}
        cpus = "".join(f"cpu{number} 0 0 0 0 0 0 0 0 0 0\n" for number in range(4))
        self._host.write("proc/stat", f"cpu  {sum(ticks.values())} 0 0 999 0 0 0 0 0 0\n{cpus}")
        for pid, used in ticks.items():
            parent = os.getpid() if pid == 50 else 1
            self._host.write(f"proc/{pid}/stat", f"{pid} (a b) R {parent} {'0 ' * 9} {used} 0 {'0 ' * 30}")
            self._host.write(f"proc/{pid}/cmdline", f"/bin/work\0{pid}\0")
            self._host.write(f"proc/{pid}/status", "Uid:\t0\t0\t0\t0\n")

    def wait(self, seconds):
        self.write(self._seconds)
        return 2.0


def test_busy_strangers_are_found_and_own_children_are_not(host):
    found = load.load(TwoLooks(host, {7: 1.0, 8: 4.0, 9: 0.6, os.getpid(): 0.5, 50: 2.0}))
    assert (found.cpus, found.busy) == (4, pytest.approx(2.8))
    assert [(one.pid, one.cpus) for one in found.consumers] == [
        (8, pytest.approx(2.0)),
        (7, pytest.approx(0.5)),
        (9, pytest.approx(0.3)),
    ]
    assert (found.consumers[0].command, found.consumers[0].owner) == ("work 8", "root")


@pytest.mark.slow
def test_the_load_of_this_machine_is_between_none_and_all_of_its_cpus():
    found = load.load(Source())
    assert 0 <= found.busy <= found.cpus == os.cpu_count()


def test_a_process_in_a_container_is_told_by_the_id_that_engines_show(host):
    digits = "0123456789ab" + "c" * 52
    for pid, path in enumerate(
        (f"0::/system.slice/docker-{digits}.scope", f"4:memory:/docker/{digits}", f"0::/machine/libpod-{digits}.scope"),
        1,
    ):
        host.write(f"proc/{pid}/cgroup", f"{path}\n")
        assert people.container(Source(host.root), pid) == digits[:12]
    host.write("proc/9/cgroup", "0::/user.slice\n")
    assert people.container(Source(host.root), 9) == ""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python3", "-u", "train.py", "--token", "hf_x"], "python3 -u train.py ..."),
        (["python3", "-m", "madrun", "run", "-c", "{'KEY': 'x'}"], "python3 -m madrun run ..."),
        (["mysql", "-pgeheim"], "mysql ..."),
        (["curl", "https://user:word@host/"], "curl ..."),
        (["env", "TOKEN=x", "job"], "env ..."),
        (["sleep", "100"], "sleep 100"),
    ],
)
def test_a_command_line_is_shown_without_what_may_be_a_secret(host, words, shown):
    host.write("proc/5/cmdline", "\0".join(words) + "\0")
    assert people.command(Source(host.root), 5) == shown


def test_a_command_line_of_any_bytes_is_one_line(host):
    host.write("proc/5/cmdline", "/usr/bin/a\nb\0x\x1b[31m\0" + "y" * 99)
    found = people.command(Source(host.root), 5)
    assert found.isprintable()
    assert found.endswith("...")
    assert len(found) == 60


INFO = {
    "ServerVersion": "27.1.1",
    "Driver": "overlay2",
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "DockerRootDir": "/",
    "Warnings": ["WARNING: No swap limit support"],
}


def test_what_the_engine_says_of_itself_is_read_with_its_disk(tmp_path):
    found = engine.engine(Telling(tmp_path, INFO), Engine(name="docker", version="27", cdi=("nvidia.com/gpu=0",)))
    assert (found.version, found.storage, found.cgroup) == ("27.1.1", "overlay2", "cgroup v2 by systemd")
    assert (found.runtimes, found.cdi) == (("nvidia", "runc"), ("nvidia.com/gpu=0",))
    assert found.disk.path == "/"
    assert found.disk.space.total > 0


def test_the_disk_of_an_engine_of_another_host_is_not_looked_at_here(tmp_path):
    found = engine.engine(Telling(tmp_path, INFO), Engine(name="docker", version="27", local=False))
    assert found.disk is None
    assert found.unread == "the engine is of another host"


def test_an_engine_that_does_not_answer_is_unreadable(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(Unreadable, match="none.sock"):
        Source().engine_info("docker")


def test_a_place_that_is_not_there_yet_is_measured_at_its_nearest_folder(tmp_path):
    (found,) = disks.disks(Source(), {"results": str(tmp_path / "not" / "yet")})
    assert found.space.total == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert found.writable


def test_the_name_of_a_host_is_told_with_the_line_that_gives_it(host):
    host.write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 alpha\n")
    found = names.host_name(Telling(host.root, ["127.0.1.1"]), "alpha")
    assert found.addresses == ("127.0.1.1",)
    assert found.line.endswith("etc/hosts:2")


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_NODATA])
def test_a_name_that_means_nothing_is_an_answer(monkeypatch, number):
    def refuse(*words, **more):
        raise socket.gaierror(number, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert Source().addresses_of("alpha") == []


def test_a_resolver_that_does_not_answer_is_unreadable(monkeypatch):
    def refuse(*words, **more):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(Unreadable, match="Temporary failure"):
        Source().addresses_of("alpha")


def test_priorities_with_flow_control_are_read(tmp_path):
    said = "prio-pfc 0:off 1:off 2:off 3:on 4:off 5:on 6:off 7:off \n"
    assert rdma.flow_control(Telling(tmp_path, said), ("eth1",)).priorities == {"eth1": (3, 5)}


@pytest.mark.parametrize(
    ("vendor", "mark", "way"),
    [
        ("nvidia", "sys/module/nvidia_peermem/refcnt", "nvidia_peermem"),
        ("amd", "sys/kernel/mm/memory_peers/amdkfd/version", "/sys/kernel/mm/memory_peers/amdkfd"),
    ],
)
def test_ways_to_the_memory_of_gpus_are_found_by_their_marks(host, vendor, mark, way):
    host.write("proc/sys/kernel/osrelease", "6.8.0\n")
    host.write("sys/module/kernel/uevent")
    assert rdma.peer_memory(Source(host.root), vendor).ways == ()
    host.write(mark)
    assert rdma.peer_memory(Source(host.root), vendor).ways == (way,)


TOOLS = {
    "absent": (["/nowhere/nvidia-smi"], "No such file or directory"),
    "failing": (
        ["sh", "-c", "echo Driver/library version mismatch; exit 18"],
        "failed with 18: Driver/library version",
    ),
    "silent": (["sh", "-c", "exit 3"], "failed with 3: it said nothing"),
    "hanging": (["sleep", "600"], "did not answer within 0.05 s"),
}


@pytest.mark.parametrize("kind", TOOLS)
def test_a_tool_that_gives_nothing_says_why(kind):
    argv, words = TOOLS[kind]
    with pytest.raises(Unreadable, match=words):
        Source(tool_limit_s=0.05 if kind == "hanging" else 20).tool(*argv)

"""What a host says of itself: asked of this machine for real, read from what others say, and what is wrong of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun import __version__
from madrun.backends.ssh import visit as visiting
from madrun.backends.ssh.connection import Reply
from madrun.backends.ssh.problems import Problem, as_text, of_reply, of_seen, same_machine
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.visit import choose_master, visit
from madrun.backends.ssh.visitscript import Python, Seen, read_answer, visit_script
from madrun.errors import ContextError, HostsError
from madrun.spec.launch import Launch

LAUNCH = Launch(
    **{"id": "launch-1", "backend": "ssh", "folder": "/r/launches/launch-1", "nnodes": 2, "words": (), "files": {}},
    **{"given": {}, "env": {}, "secrets": (), "cards": ("one",), "images": {}, "master_addr": ""},
    **{"master_port": 20000, "control_port": 20001, "modules": (), "repository": "/r", "results": "/r/results"},
    **{"command": ("madrun",), "python": "/opt/python", "version": __version__},
)
PYTHON = Python(path="/p", version="3.11", tag="cpython-311", system="linux", machine="x86_64", libc="glibc-2.36")
WELL = Seen(rank=0, host="a", name="a", machine="boot a", pythons=(PYTHON,), writable=True, folder="/c", user="me")


def ask(shell, folder, launch, home, python=sys.executable):
    script = visit_script("TOKEN", folder, str(launch), "launch-1", python)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "SSH_CONNECTION": "10.0.0.9 5555 10.0.0.1 22"}
    done = subprocess.run([shell, "-c", f"echo Welcome\n{script}echo bye"], env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return read_answer(done.stdout, "TOKEN", 3, "here", time.time())


@pytest.mark.slow
@pytest.mark.parametrize("shell", [shell for shell in ("dash", "bash") if shutil.which(shell)])
def test_a_host_says_what_it_is_and_has(tmp_path, shell):
    (tmp_path / "launch.json").write_text(json.dumps({"id": "launch-1"}))
    seen = ask(shell, "~/.cache/it's here", tmp_path, tmp_path)
    assert (seen.rank, seen.host, seen.name) == (3, "here", os.uname().nodename)
    assert seen.folder == f"{tmp_path}/.cache/it's here"
    assert not (tmp_path / ".cache").exists()
    assert (seen.home, seen.writable, seen.shared) == (str(tmp_path), True, True)
    assert 0 < seen.free <= shutil.disk_usage(tmp_path).free * 1.1
    assert (seen.madrun, seen.program) == (__version__, "")
    assert seen.pythons[0].tag == sys.implementation.cache_tag
    assert seen.reached_at == "10.0.0.1"
    assert abs(seen.clock_offset_s) < 60
    assert "tar" in seen.tools
    assert os.uname().nodename in seen.machine


@pytest.mark.slow
def test_a_launch_of_another_name_is_not_this_one_and_a_python_that_is_not_there_has_no_madrun(tmp_path):
    (tmp_path / "launch.json").write_text(json.dumps({"id": "launch-2"}))
    seen = ask("sh", "/nowhere/at/all", tmp_path, tmp_path, "/nowhere/python")
    assert (seen.shared, seen.folder) == (False, "/nowhere/at/all")
    assert seen.writable == os.access("/", os.W_OK)
    assert seen.madrun == "" or seen.program


ANSWER = [
    *("Welcome", "TOKEN", "clock\t1000.500000000", "home\t/h", "user\tme", "folder\t/h/c", "name\tn0"),
    *("boot\tb", "machine\t", "space\tnet:[1]", "ssh\t10.0.0.9 5 10.0.0.1 22"),
    "address\t2: eth0@if9    inet 10.0.0.1/24 brd 10.0.0.255 scope global eth0",
    *("address\t2: eth0    inet6 fd00::1/64 scope global", "address\teth0: flags=4163<UP>", "tool\ttar"),
    "python\t/usr/bin/python3\t3.9\tcpython-39\tlinux\tx86_64\tglibc-2.17",
    "python\t/opt/python3.12\t3.12\tcpython-312\tlinux\tx86_64\tglibc-2.17",
    f"python\t/opt/like\t3.{sys.version_info.minor}\t{sys.implementation.cache_tag}\tlinux\tx86_64\tglibc-2.17",
    *(
        "program\t/usr/bin/madrun",
        "installed\tmadrun 0.0.9",
        "engine\tdocker 20.10",
        "free\t4",
        "writable\tyes",
        "end\tTOKEN",
        "Bye",
    ),
]


def test_an_answer_is_read_between_its_marks():
    seen = read_answer("\n".join(ANSWER).encode(), "TOKEN", 0, "me@n0", 1000.0)
    assert seen == Seen(
        rank=0,
        host="me@n0",
        name="n0",
        user="me",
        home="/h",
        folder="/h/c",
        free=4096,
        writable=True,
        machine="b n0  net:[1]",
        pythons=seen.pythons,
        madrun="0.0.9",
        program="/usr/bin/madrun",
        engines=("docker 20.10",),
        tools=("tar",),
        reached_at="10.0.0.1",
        addresses=(("eth0", "10.0.0.1/24"), ("eth0", "fd00::1/64")),
        clock_offset_s=0.5,
    )
    assert [python.path for python in seen.pythons] == (
        ["/opt/like", "/opt/python3.12"] if sys.version_info < (3, 12) else [python.path for python in seen.pythons]
    )
    assert "/usr/bin/python3" not in [python.path for python in seen.pythons]


def test_an_answer_without_its_end_is_none():
    assert read_answer("\n".join(ANSWER[:-2]).encode(), "TOKEN", 0, "a", 0.0) is None
    assert read_answer(b"This account is currently not available.\n", "TOKEN", 0, "a", 0.0) is None


KEYS = st.sampled_from([line.partition("\t")[0] for line in ANSWER if "\t" in line])


@given(st.lists(st.tuples(KEYS, st.text(max_size=20)), max_size=12))
def test_no_answer_breaks_the_reading(pairs):
    lines = ["TOKEN", *(f"{key}\t{value}" for key, value in pairs), "end\tTOKEN"]
    seen = read_answer("\n".join(lines).encode(errors="replace"), "TOKEN", 1, "a", 0.0)
    assert seen is not None
    assert all(int(python.version.split(".")[0]) >= 3 for python in seen.pythons)


SSH = [
    ("ssh: Could not resolve hostname x: Name or service not known", "unknown host"),
    ("@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@\nHost key verification failed.", "host key changed"),
    ("No ED25519 host key is known for a and you have requested strict checking.\nHost key verification failed.",
     "unknown host key"),
    ("me@a: Permission denied (publickey,password).", "no key is accepted, and a password cannot be asked for"),
    ("me@a: Permission denied (publickey).", "no key is accepted"),
    ("Received disconnect from a: 2: Too many authentication failures", "no key is accepted"),
    ("ssh: connect to host a port 22: Connection refused", "connection refused"),
    ("ssh: connect to host a port 22: Connection timed out", "no answer"),
    ("ssh: connect to host a port 22: No route to host", "no answer"),
    ("kex_exchange_identification: read: Connection reset by peer", "connection closed before the login"),
    ("something new", "ssh failed"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "title"), SSH)
def test_what_ssh_says_has_a_name_and_something_to_do(said, title):
    problem = of_reply(2, Reply(host="a", code=255, err=f"Banner of the site\n{said}\r\n".encode()), 60)
    assert (problem.rank, problem.host, problem.title) == (2, "a", title)
    assert problem.said in said
    assert problem.advice
    assert "HOST" not in problem.told


def test_a_host_without_a_shell_or_without_an_answer_is_told_apart():
    no_shell = of_reply(0, Reply(host="a", code=1, out=b"This account is \x1b[1mcurrently not available.\n"), 60)
    assert (no_shell.title, no_shell.said) == ("no shell", "This account is [1mcurrently not available.")
    assert of_reply(0, Reply(host="a", code=124), 60).said == "logged in, and no answer within 60 s"


@pytest.mark.parametrize(
    ("seen", "settings", "some_engine", "titles"),
    [
        ({}, {}, False, []),
        ({"engines": ("docker",)}, {}, True, []),
        ({}, {}, True, ["no container engine"]),
        ({"pythons": ()}, {}, False, ["no python"]),
        ({"pythons": (), "madrun": __version__}, {}, False, []),
        ({"pythons": (), "madrun": "0.0.1"}, {}, False, ["no python"]),
        ({"pythons": (), "madrun": __version__}, {"madrun": "carry"}, False, ["no python"]),
        ({"writable": False}, {}, False, ["nowhere to write"]),
        ({"writable": False, "madrun": __version__}, {}, False, []),
        ({}, {"madrun": "installed"}, False, ["no madrun"]),
        ({"madrun": "0.0.1"}, {"madrun": "installed"}, False, ["another version of madrun"]),
    ],
)
def test_what_a_host_lacks_is_a_problem_only_where_it_is_needed(seen, settings, some_engine, titles):
    found = of_seen(replace(WELL, **seen), SshSettings(**settings), LAUNCH, some_engine)
    assert [problem.title for problem in found] == titles


def test_an_engine_is_asked_of_every_host_where_the_runtime_is_one():
    (problem,) = of_seen(replace(WELL, broken="docker: is it running?"), SshSettings(),
                         replace(LAUNCH, runtime="docker"), False)  # fmt: skip
    assert (problem.title, problem.said) == ("no container engine", "docker: is it running?")
    assert of_seen(WELL, SshSettings(), replace(LAUNCH, runtime="process"), True) == []


SILENT = {"silent": "has no socket at /run/user/7/podman/podman.sock"}


@pytest.mark.parametrize(
    ("seen", "runtime", "some_engine", "title"),
    [
        (SILENT, "auto", False, None),  # as on one host, the script runs on the host itself
        (SILENT, "auto", True, "podman without its API socket"),
        (SILENT, "podman", False, "podman without its API socket"),
        (SILENT | {"engines": ("docker 20.10",)}, "podman", False, "podman without its API socket"),
        (SILENT | {"engines": ("docker 20.10",)}, "auto", True, None),
        (SILENT, "docker", True, "no container engine"),
        (SILENT | {"broken": "docker: is it running?"}, "auto", True, "no container engine"),
        ({"engines": ("podman",)}, "docker", True, "no container engine"),
        ({"engines": ("podman",)}, "podman", True, None),
    ],
)
def test_a_podman_that_does_not_serve_is_told_before_anything_starts(seen, runtime, some_engine, title):
    found = of_seen(replace(WELL, **seen), SshSettings(), replace(LAUNCH, runtime=runtime), some_engine)
    assert [problem.title for problem in found] == ([title] if title else [])
    if title and "podman" in title:
        (problem,) = found
        assert problem.said == "podman is installed, but its API has no socket at /run/user/7/podman/podman.sock"
        assert problem.told.startswith("ssh a systemctl --user enable --now podman.socket (as root without --user")


@pytest.mark.slow
@pytest.mark.parametrize("state", ["missing", "stale", "serving", "no podman", "podman as docker"])
def test_a_host_says_whether_its_podman_serves(tmp_path, state):
    tools, run = tmp_path / "tools", tmp_path / "run"
    place = run / "podman/podman.sock"
    tools.mkdir()
    place.parent.mkdir(parents=True)
    names = ["id", "uname", "date", "cat", "readlink", "grep", "dirname", "df", "tail", "sh", "timeout"]
    for name in names:
        (tools / name).symlink_to(shutil.which(name))
    programs = {"podman": "exit 0", "curl": f"test -e {tmp_path}/answers"} if state != "no podman" else {}
    programs |= {"docker": "echo podman version 4.3.1"} if state == "podman as docker" else {}
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    if state == "serving":
        (tmp_path / "answers").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        if state in ("stale", "serving"):
            listening.bind(os.path.relpath(place))  # a path for a socket is short
        script = visit_script("TOKEN", "/c", "/l", "launch-1", "/none")
        env = {"PATH": str(tools), "HOME": str(tmp_path), "CONTAINER_HOST": f"unix://{place}"}
        done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, cwd=tmp_path)
    seen = read_answer(done.stdout, "TOKEN", 0, "a", 0.0)
    assert seen is not None, done.stderr
    podmans = [engine for engine in seen.engines if engine == "podman"]
    assert podmans == (["podman"] if state == "serving" else [])
    assert not any(engine.startswith("docker ") for engine in seen.engines)
    said = {"stale": f"nobody answers at {place}", "serving": "", "no podman": ""}
    assert seen.silent == said.get(state, f"has no socket at {place}")


def test_an_answer_holds_nothing_that_a_terminal_takes_for_its_own():
    said = ["TOKEN", "folder\t/c\x1b[2J\x07", "broken\tdocker: \x9b31mred\u202e", "end\tTOKEN"]
    seen = read_answer("\n".join(said).encode(), "TOKEN", 0, "a", 0.0)
    assert (seen.folder, seen.broken) == ("/c[2J", "docker: 31mred")


def test_two_names_of_one_machine_are_told_and_machines_that_do_not_say_who_they_are_are_let_be():
    hosts = [WELL, replace(WELL, rank=1, host="b"), replace(WELL, rank=2, host="c", machine="")]
    (problem,) = same_machine([*hosts, replace(hosts[2], rank=3, host="d")])
    assert (problem.rank, problem.host, problem.said) == (1, "b", "a is the same machine, a")


def test_of_many_hosts_with_one_problem_a_few_are_shown_and_the_others_named():
    problems = [Problem(rank=i, host=f"n{i}", title="no answer", said=f"of n{i}", advice="ask HOST") for i in range(30)]
    lines = as_text([*problems, replace(problems[7], title="other", advice="else")], 99).splitlines()
    assert lines[0] == "--on ssh: 30 of 99 hosts cannot take part, so nothing was started"
    assert lines[1] == "  n0: no answer: of n0"
    assert lines[5] == f"  no answer, too: {', '.join(f'n{i}' for i in range(4, 20))} and 10 more"
    assert lines[6:] == ["    do: ask n0", "  n7: other: of n7", "    do: else"]


def at(rank, *addresses, reached=""):
    return Seen(rank=rank, host=f"n{rank}", addresses=tuple(a.split() for a in addresses), reached_at=reached)


DOCKER = "docker0 172.17.0.1/16"


@pytest.mark.parametrize(
    ("seen", "address"),
    [
        ([at(0)], "127.0.0.1"),
        ([at(0, DOCKER, "eth0 10.0.0.1/24"), at(1, DOCKER, "eth0 10.0.0.2/24")], "10.0.0.1"),
        ([at(0, "br0 192.168.122.1/24", "e 10.0.0.1/24"), at(1, "br0 192.168.122.1/24", "e 10.0.0.2/24")], "10.0.0.1"),
        (
            [at(0, "a 10.0.0.1/24", "b 10.1.0.1/24", reached="10.1.0.1"), at(1, "a 10.0.0.2/24", "b 10.1.0.2/24")],
            "10.1.0.1",
        ),
        ([at(0, "a 10.0.0.1/24", reached="10.9.0.1"), at(1, "a 10.0.0.2/24")], "10.0.0.1"),
        ([at(0, "e fd00::1/64", "e 10.0.0.1/24"), at(1, "e fd00::2/64", "e 10.0.0.2/24")], "10.0.0.1"),
        ([at(0, "e fd00::1/64"), at(1, "e fd00::2/64")], "fd00::1"),
        ([at(0, "e 10.0.0.1/24", reached="10.0.0.1"), at(1, "e 10.0.1.2/24")], "10.0.0.1"),
        ([at(0, "e 10.0.0.1/24"), at(1, "e 10.0.0.2/24"), at(2, "e 10.0.7.2/24", "f 10.0.0.9/24")], "10.0.0.1"),
    ],
)
def test_the_first_host_is_named_by_an_address_that_all_others_share_a_network_with(seen, address, monkeypatch):
    monkeypatch.setattr(visiting, "host_behind", lambda host: "nosuch.invalid")
    assert choose_master(seen, LAUNCH, SshSettings()) == address
    assert choose_master(seen, LAUNCH, SshSettings(master_addr="10.5.5.5")) == "10.5.5.5"
    assert choose_master(seen, replace(LAUNCH, master_addr="n0.lan"), SshSettings(master_addr="x")) == "n0.lan"


def test_an_address_that_cannot_be_found_is_asked_for(monkeypatch):
    monkeypatch.setattr(visiting, "host_behind", lambda host: "127.0.0.1")
    with pytest.raises(ContextError, match=r"multi_node_args.MASTER_ADDR: found no address of n0 .* ssh.master_addr"):
        choose_master([at(0, reached="127.0.0.1"), at(1)], LAUNCH, SshSettings())


class Answers:
    """Connections whose hosts answer so."""

    def __init__(self, **answers):
        self.answers = answers

    def run(self, hosts, script, *, limit_s, stop):
        token = script.partition("printf '%s\\n' ")[2].partition("\n")[0]
        return [self.answers[host](host, token) for host in hosts]


def well(host, token):
    return Reply(host=host, code=0, out="\n".join(ANSWER).replace("TOKEN", token).replace("n0", host).encode())


def refused(host, token):
    return Reply(host=host, code=255, err=b"ssh: connect to host x port 22: Connection refused")


def test_all_that_is_wrong_on_all_hosts_is_told_at_once():
    settings = SshSettings(hosts=("a", "b", "c"))
    assert [seen.host for seen in visit(Answers(a=well, b=well, c=well), settings, LAUNCH)] == ["a", "b", "c"]
    with pytest.raises(HostsError) as error:
        visit(Answers(a=refused, b=lambda host, token: well("c", token), c=well), settings, LAUNCH)
    assert str(error.value).splitlines()[0] == "--on ssh: 2 of 3 hosts cannot take part, so nothing was started"
    assert "a: connection refused" in str(error.value)
    assert "c: two names of one machine: " in str(error.value)
    assert sorted(error.value.hosts) == ["a", "c"]
    assert error.value.hosts["a"].startswith("connection refused: ssh: connect to host x port 22")

"""What an engine refuses is told apart: what may be left out, and what to do about the rest.

The texts are those of docker 20.10.24 with runc 1.1.5, and of podman 4.3.1 with runc and crun.
"""

from dataclasses import replace

import pytest

from madrun.runtimes.refusals import dropped_capabilities, refused_limit, smaller, start_error

MEMLOCK = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
    "error during container init: error setting rlimits for ready process: error setting rlimit type 8: "
    "operation not permitted: unknown"
)
NOFILE = MEMLOCK.replace("type 8", "type 7")
CAPS = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
    "unable to apply caps: operation not permitted: unknown"
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (MEMLOCK, "memlock"),
        (NOFILE, "nofile"),
        ("error setting rlimits for type 8: operation not permitted", "memlock"),
        ("error setting rlimits for type 3: operation not permitted", "stack"),
        ("error setting rlimits for type 99: operation not permitted", None),
        ("crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied", "nofile"),
        ("no such image", None),
    ],
)
def test_a_refused_limit_is_known_by_its_number_or_name(text, limit):
    assert refused_limit(text) == limit


def test_a_refused_limit_is_left_out_and_named(container):
    fewer, said = smaller(container, MEMLOCK)
    assert fewer == replace(container, ulimits={"nofile": 4096})
    assert said.startswith("memlock left out: the engine refused it (")
    assert "operation not permitted" in said


def test_where_podman_adds_a_limit_of_its_own_to_ours_all_of_ours_go(container):
    fewer, said = smaller(replace(container, ulimits={"memlock": -1, "stack": 1}), NOFILE)
    assert fewer.ulimits == {}
    assert said.startswith("memlock, stack left out, for podman adds nofile")


def test_a_limit_that_nobody_asked_for_is_an_error_with_advice(container):
    bare = replace(container, ulimits={}, cap_add=())
    assert smaller(bare, NOFILE) is None
    assert "default_ulimits" in start_error(NOFILE, bare)


DEVICES = (
    "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
    'error during container init: failed to write "c *:* m": write /sys/fs/cgroup/devices/slurm/uid_0/job_7/5c55/'
    "devices.allow: operation not permitted: unknown"
)


@pytest.mark.parametrize(
    "text",
    [DEVICES, 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'],
)
def test_a_refused_cgroup_is_left_out_and_named(container, text):
    fewer, said = smaller(replace(container, cgroup_parent="/slurm/uid_0/job_7"), text)
    assert fewer == container
    assert said.startswith("cgroup parent /slurm/uid_0/job_7 left out: the engine refused it (")
    assert smaller(container, text) is None


def test_only_capabilities_that_no_number_depends_on_are_left_out(container):
    fewer, said = smaller(container, CAPS)
    assert fewer == replace(container, cap_add=())
    assert said.startswith("SYS_PTRACE left out")
    assert smaller(replace(container, cap_add=("SYS_PTRACE", "IPC_LOCK")), CAPS) is None


@pytest.mark.parametrize(
    ("granted", "dropped"), [(["SYS_PTRACE"], 0), (["CAP_SYS_PTRACE"], 0), (["ALL"], 0), ([], 1), (None, 1)]
)
def test_a_capability_that_was_left_out_without_a_word_is_named(container, granted, dropped):
    lines = dropped_capabilities(container, granted)
    assert len(lines) == dropped
    assert all(line.startswith("SYS_PTRACE left out") for line in lines)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "container toolkit"),
        ("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all", "nvidia-ctk cdi generate"),
        ('exec: "bash": executable file not found in $PATH', "img:1 has no bash"),
        ("crun: executable file `bash` not found in $PATH: No such file or directory", "img:1 has no bash"),
        ("invalid mount config: bind source path does not exist: /x", "none is created silently"),
        ("statfs /no/such: no such file or directory", "none is created silently"),
        ("statfs /dev/mqueue: no such file or directory", "ipc: private"),
        ("crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2", 'runtime = "runc"'),
        ('creating container storage: the container name "x" is already in use by 1234', "another container"),
        ("something new", "the engine's own log"),
    ],
)
def test_an_error_of_the_engine_is_passed_on_with_what_to_do(container, text, part):
    said = start_error(text, container)
    assert text in said
    assert part in said
    assert container.name in said

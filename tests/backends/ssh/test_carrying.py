"""A launch's things on their way to hosts and back, over connections that lead to folders of this host."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from madrun import __version__
from madrun.backends.carry import bundle as bundling
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh import carrying
from madrun.backends.ssh.carrying import bring_home, clear, deliver, forget_private
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.visitscript import Python, Seen
from madrun.errors import UsageError
from madrun.probe.git import state

pytestmark = pytest.mark.slow


@dataclass
class Hosts:
    """Connections to some of them, and what each host showed of itself."""

    nodes: dict
    folder: LaunchFolder
    head: object

    def start(self, host, script):
        return self.nodes[host].start(host, script)

    def seen(self, **changes):
        libc = "-".join(platform.libc_ver())
        like = Python(
            path=sys.executable,
            version=f"{sys.version_info.major}.{sys.version_info.minor}",
            tag=sys.implementation.cache_tag,
            system=sys.platform,
            machine=platform.machine(),
            libc=libc,
        )
        return [
            Seen(**({"rank": rank, "host": host, "pythons": (like,), "engines": ()} | changes))
            for rank, host in enumerate(self.nodes)
        ]

    def deliver(self, seen=None, **settings):
        """The repository is seen at its own path, for these hosts are folders of this one: so it is asked for."""
        read = SshSettings(**({"hosts": "n0,n1", "repository": "copy"} | settings))
        return deliver(self, seen or self.seen(), self.folder, self.folder.launch(), read, self.head)


@pytest.fixture
def hosts(tmp_path, near_node, calm_head, launch, monkeypatch):
    """Two empty hosts, and a launch of a repository with one card; madrun is one file."""
    own = tmp_path / "run.py"
    own.write_text("1")
    monkeypatch.setattr(bundling, "_files", lambda: {"lib/madrun/run.py": own, "bin/madrun": "#!/bin/sh\n"})
    bundling.bundle.cache_clear()
    repository = tmp_path / "work/repository"
    (repository / "models/one").mkdir(parents=True)
    (repository / "models/one/run.sh").write_text("echo one")
    other = type(near_node)(tmp_path / "other/home", near_node.programs, "n1")
    other.home.mkdir(parents=True)
    identity = f"{tmp_path.name}-{os.getpid()}"
    made = launch(
        id=identity,
        folder=str(repository / "results/launches" / identity),
        repository=str(repository),
        results=str(repository / "results"),
        version=__version__,
        images={},
        cache=str(tmp_path / "cache"),
    )
    folder = LaunchFolder.create(made, {"ssh.sh": "#\n"}, {"MADRUN_SECRET": "s"})
    bed = Hosts({"n0": near_node, "n1": other}, folder, calm_head)
    yield bed
    for path in Path("/dev/shm").glob(f"madrun-{os.getuid()}-{identity}"):
        shutil.rmtree(path)
    bundling.bundle.cache_clear()


def said(hosts):
    found, hosts.head.said = hosts.head.said, []
    return found


def test_bare_hosts_get_everything_and_the_second_launch_sends_nothing(hosts):
    places = hosts.deliver()
    assert [line.split(" to ")[1] for line in hosts.head.said] == ["2 of 2 hosts", "2 of 2 hosts"]
    first, second = said(hosts)
    assert first.startswith("carrying madrun ")
    assert second == "carrying the repository: 1 file, 8 B to 2 of 2 hosts"
    for place, node in zip(places, hosts.nodes.values(), strict=True):
        base = f"{node.folder}/launches/{hosts.folder.path.name}"
        assert (place.folder, place.results) == (f"{base}/files", f"{base}/results")
        assert place.repository == f"{base}/repository/repository" and not place.shared
        assert Path(f"{place.repository}/models/one/run.sh").read_text() == "echo one"
        assert Path(f"{place.folder}/private.env").read_text() == "export MADRUN_SECRET=s\n"
        assert os.access(f"{place.folder}/node.sh", os.X_OK) and Path(f"{place.folder}/site.yaml").exists()
        assert os.access(place.program, os.X_OK)
    clear(hosts, places)
    assert hosts.deliver() == places
    assert said(hosts) == []
    event = hosts.folder.events()[-1]
    assert (event["madrun"], event["repository"], event["images"]) == ([], [], {})


def test_only_what_changed_is_sent(hosts):
    clear(hosts, hosts.deliver())
    said(hosts)
    repository = hosts.folder.path.parents[2]
    (repository / "models/one/new.sh").write_text("12345")
    places = hosts.deliver()
    assert said(hosts) == ["carrying the repository: 1 of 2 files, 5 B to 2 of 2 hosts"]
    assert Path(f"{places[1].repository}/models/one/new.sh").read_text() == "12345"


def test_files_that_may_hold_secrets_are_named_when_they_go_along_and_the_site_file_goes_by_itself(hosts):
    repository = hosts.folder.path.parents[2]
    names = ["credential.json", ".env", "keys/x.pem", "home/.ssh/config", "id_rsa", "a\x1b.key.pem", "keyboard.py"]
    for name in [*names, "madrun-site.yaml"]:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    places = hosts.deliver()
    assert said(hosts)[2:] == [
        "carried with it: .env, a .key.pem, credential.json, home/.ssh/config and 2 more, which may hold secrets; "
        "ssh.exclude leaves out what it names"
    ]
    assert Path(f"{places[0].repository}/keyboard.py").exists()
    assert not Path(f"{places[0].repository}/madrun-site.yaml").exists()
    assert hosts.deliver() == places
    assert said(hosts) == []


def test_a_host_that_has_this_madrun_uses_its_own(hosts):
    seen = hosts.seen()
    seen[1] = Seen(**{**as_values(seen[1]), "madrun": __version__, "program": "/opt/bin/madrun"})
    places = hosts.deliver(seen)
    assert said(hosts)[0].endswith("to 1 of 2 hosts")
    assert places[1].program == "/opt/bin/madrun" and places[0].program.startswith(str(hosts.nodes["n0"].folder))


def as_values(one):
    return {name: getattr(one, name) for name in Seen.__dataclass_fields__}


def test_where_installed_is_asked_for_all_hosts_without_it_are_named(hosts):
    with pytest.raises(UsageError, match="ssh.madrun: installed: n0, n1: found madrun 0.0.9, allowed: "):
        hosts.deliver(hosts.seen(madrun="0.0.9"), madrun="installed")


def test_hosts_without_a_python_are_named(hosts):
    with pytest.raises(UsageError, match="^n0, n1: found no python 3.10 or later"):
        hosts.deliver(hosts.seen(pythons=()))


def test_what_is_shared_is_not_brought(hosts):
    places = hosts.deliver(hosts.seen(shared=True, madrun=__version__), repository="auto")
    assert said(hosts) == []
    for place in places:
        assert (place.program, place.repository, place.results) == ("", "", "")
        assert place.folder == str(hosts.folder.path) and place.shared
    assert not hosts.nodes["n0"].folder.exists()
    assert bring_home(hosts, places[0], hosts.folder, hosts.folder.launch()) == ()
    assert clear(hosts, places) == () and (hosts.folder.path / "node.sh").exists()


def test_a_copy_is_made_where_it_is_asked_for_though_the_path_is_seen(hosts):
    (place, _) = hosts.deliver(hosts.seen(shared=True, madrun=__version__))
    assert place.repository.startswith(str(hosts.nodes["n0"].folder)) and place.results == ""


def test_a_repository_said_to_be_shared_that_is_not_names_hosts_and_file(hosts, monkeypatch):
    listing_of = carrying.Delivery._listing

    def other(job):
        found = listing_of(job)
        (hosts.folder.path.parents[2] / "models/one/run.sh").write_text("changed on that host")
        return found

    monkeypatch.setattr(carrying.Delivery, "_listing", other)
    with pytest.raises(UsageError, match="is not the same on n0, n1 as here, on n0 first models/one/run.sh"):
        hosts.deliver(repository="shared")


def test_patterns_leave_out(hosts):
    repository = hosts.folder.path.parents[2]
    (repository / "weights.bin").write_text("x" * 1000)
    (place, _) = hosts.deliver(exclude=("*.bin",))
    assert [path.name for path in Path(place.repository).iterdir()] == ["models"]


def test_the_commit_of_the_copy_is_that_of_the_checkout(hosts, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    repository = hosts.folder.path.parents[2]

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(repository), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    git("add", "models")
    git("commit", "-qm", "one")
    (repository / "models/one/run.sh").write_text("echo changed")
    (place, _) = hosts.deliver()
    seen = state(Path(place.repository))
    assert seen == state(repository) and seen.dirty and len(seen.commit) == 40
    assert not Path(f"{place.repository}/.git").exists()
    with pytest.raises(UsageError, match="ssh.repository: git: .* has changes that no commit holds; commit and push"):
        hosts.deliver(repository="git")
    git("checkout", "models")
    with pytest.raises(UsageError, match="has no remote from which nodes could take it; set ssh.repository to copy"):
        hosts.deliver(repository="git")
    git("remote", "add", "origin", str(repository))
    (place, _) = hosts.deliver(repository="git")
    assert said(hosts)[-1].startswith("fetching commit ") and state(Path(place.repository)).commit == seen.commit


def test_too_little_space_is_found_before_anything_is_sent(hosts, monkeypatch):
    look = carrying.Delivery.look

    def little(job, images):
        found = look(job, images)
        found.answers["n1"]["free"] = 3
        return found

    monkeypatch.setattr(carrying.Delivery, "look", little)
    with pytest.raises(UsageError, match=r"n1: .*: found 3 B free, needed: .*; make room there, or set ssh.folder"):
        hosts.deliver()
    assert said(hosts) == [] and not (hosts.nodes["n0"].folder / "objects").exists()
    monkeypatch.undo()


def test_trouble_on_one_host_leaves_nothing_of_the_launch_on_any(hosts):
    hosts.nodes["n1"].folder.parent.mkdir(parents=True)
    hosts.nodes["n1"].folder.write_text("a file in the place of the folder")
    with pytest.raises(UsageError, match=r"carrying what the hosts lack:\n  n1: "):
        hosts.deliver()
    assert not list(hosts.nodes["n0"].folder.glob("launches/*"))
    hosts.nodes["n1"].folder.unlink()


def test_results_come_home_whole_and_what_was_put_there_goes(hosts):
    places = hosts.deliver()
    run = f"{places[0].results}/runs/20261121T000001Z-one-aaaaaa-1"
    Path(f"{run}/node-0/output").mkdir(parents=True)
    Path(f"{run}/record.json").write_text(json.dumps({"a": 1}))
    Path(f"{run}/node-0/output/run.sh").write_text("x")
    Path(f"{run}/node-0/output/run.sh").chmod(0o755)
    Path(f"{run}/node-0/output/inside").symlink_to("run.sh")
    Path(f"{run}/node-0/output/outside").symlink_to("../../../../../../../../etc/passwd")
    Path(f"{run}/node-0/output/absolute").symlink_to("/etc/passwd")
    os.mkfifo(f"{run}/node-0/output/pipe")
    launch = hosts.folder.launch()
    assert bring_home(hosts, places[0], hosts.folder, launch) == ("20261121T000001Z-one-aaaaaa-1",)
    home = hosts.folder.path.parents[1] / "runs/20261121T000001Z-one-aaaaaa-1"
    assert json.loads((home / "record.json").read_text()) == {"a": 1}
    assert sorted(path.name for path in (home / "node-0/output").iterdir()) == ["inside", "run.sh"]
    assert os.access(home / "node-0/output/run.sh", os.X_OK)
    assert not list(hosts.folder.path.glob("home-*"))
    assert clear(hosts, places) == ()
    for node in hosts.nodes.values():
        assert not list(node.folder.glob("launches/*")) and list(node.folder.glob("objects/*/*"))


def test_results_that_did_not_come_home_stay_where_they_are(hosts):
    places = hosts.deliver()
    for place in places:
        Path(f"{place.results}/runs/r1").mkdir(parents=True)
    kept = clear(hosts, places)
    assert kept == tuple(f"{place.host}:{place.results}" for place in places)
    assert not Path(places[0].folder).exists()


def test_a_lost_node_0_keeps_what_the_others_have(hosts):
    places = hosts.deliver()
    Path(f"{places[1].results}/runs/r1").mkdir(parents=True)
    hosts.nodes["n0"].programs = hosts.nodes["n0"].home / "none"
    hosts.nodes["n0"].start = lambda host, script: subprocess.Popen(
        ["sh", "-c", "exit 255"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with pytest.raises(UsageError, match="bringing home the results: n0: "):
        bring_home(hosts, places[0], hosts.folder, hosts.folder.launch())
    assert f"n1:{places[1].results}" in clear(hosts, places)
    assert Path(f"{places[1].results}/runs/r1").exists()
    del hosts.nodes["n0"].start


def test_the_private_file_goes_once_every_node_has_started(hosts):
    places = hosts.deliver()
    real = Path(f"{places[0].folder}/private.env").resolve()
    assert Path(real).exists()
    forget_private(hosts, places)
    assert not Path(real).exists() and not Path(f"{places[0].folder}/private.env").is_symlink()
    assert Path(f"{places[0].folder}/node.sh").exists()


def test_hosts_that_share_their_home_use_one_copy_and_lose_it_once(hosts):
    hosts.nodes["n1"].home = hosts.nodes["n0"].home
    places = hosts.deliver()
    assert places[0].repository == places[1].repository
    assert Path(f"{places[1].repository}/models/one/run.sh").read_text() == "echo one"
    assert clear(hosts, places) == ()
    assert not list(hosts.nodes["n0"].folder.glob("launches/*"))


def test_images_are_not_looked_for_where_no_container_runs(hosts, monkeypatch):
    monkeypatch.setattr(carrying, "images_here", lambda names: pytest.fail(f"looked for {names}"))
    launch = hosts.folder.launch()
    for changed, settings in (({"runtime": "process"}, {}), ({}, {"images": "registry"})):
        read = SshSettings(hosts="n0,n1", **settings)
        deliver(hosts, hosts.seen(), hosts.folder, replace(launch, images={"cpu": "a:1"}, **changed), read, hosts.head)

"""What a launch whose command was killed has on its hosts, brought home and cleared later; the hosts are folders."""

import shutil
import subprocess
from pathlib import Path

import pytest

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.look import PREPARED, state_of
from madrun.backends.ssh import leftbehind
from madrun.backends.ssh.carrying import Place
from madrun.backends.ssh.leftbehind import are_noted, bring_late, note_places, results_of
from madrun.errors import UsageError

pytestmark = pytest.mark.slow
ID = "20261121T000000Z-one-a1b2c3"
RUN = "20261121T000001Z-one-aaaaaa-1"


class Bed:
    """A launch with two hosts, on which a run lies; hosts whose name is in `silent` are not reached."""

    def __init__(self, nodes, folder):
        self.nodes, self.folder, self.silent = nodes, folder, {}
        self.places = tuple(self._place(*item) for item in nodes.items())
        note_places(folder, self.places)
        folder.journal(PREPARED, results=results_of(self.places[0]))
        for place in self.places:
            (Path(place.results) / "runs" / RUN / "node-0").mkdir(parents=True)
            Path(place.folder).mkdir(parents=True)
            (Path(place.folder) / "node.sh").write_text("sleep 300\n")

    def _place(self, host, node):
        base = f"{node.folder}"
        own = {"program": "", "repository": f"{base}/launches/{ID}/repository", "shared": False, "launch": ID}
        files, results = f"{base}/launches/{ID}/files", f"{base}/launches/{ID}/results"
        return Place(host=host, folder=files, results=results, base=base, python=node.target.python, **own)

    def __call__(self, settings):
        assert settings.names == tuple(self.nodes)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def open(self, hosts):
        return {host: self.silent[host] for host in hosts if host in self.silent}

    def start(self, host, script):
        return self.nodes[host].start(host, script)

    @property
    def home(self):
        return Path(self.folder.launch().results, "runs")

    def remains(self, host):
        return [path.name for path in self.nodes[host].folder.glob("launches/*/*")]


@pytest.fixture
def bed(tmp_path, near_node, launch, monkeypatch):
    """One whose results are nowhere else yet."""
    other = type(near_node)(tmp_path / "other/home", near_node.programs, "n1")
    other.home.mkdir(parents=True)
    settings = {"hosts": ["n0", "n1"]}
    made = launch(id=ID, folder=str(tmp_path / "L" / ID), results=str(tmp_path / "results"), settings=settings)
    bed = Bed({"n0": near_node, "n1": other}, LaunchFolder.create(made, {}, {}))
    monkeypatch.setattr(leftbehind, "Connections", bed)
    return bed


def test_it_comes_home_once_and_the_hosts_are_cleared(bed):
    assert state_of(bed.folder).left == (results_of(bed.places[0]),)
    assert bring_late(bed.folder, ()) == (RUN,)
    assert [path.name for path in bed.home.iterdir()] == [RUN]
    assert (bed.remains("n0"), bed.remains("n1")) == ([], [])
    assert not are_noted(bed.folder)
    assert [event["runs"] for event in bed.folder.events() if event["event"] == "brought home"] == [[RUN]]
    assert state_of(bed.folder).left == ()


def test_what_came_before_the_kill_is_taken_off_the_node_and_named_once_more(bed):
    """The command was killed between the moves of two run directories: nobody has written down the first one."""
    (bed.home / RUN).mkdir(parents=True)
    (bed.home / RUN / "whole").touch()
    later = Path(bed.places[0].results, "runs/later")
    later.mkdir()
    assert bring_late(bed.folder, (RUN,)) == (RUN, "later")
    assert (bed.home / RUN / "whole").exists()
    assert bed.remains("n0") == []


def test_another_run_of_the_same_name_here_keeps_it_where_it_is(bed):
    (bed.home / RUN / "other").mkdir(parents=True)
    assert bring_late(bed.folder, ()) == ()
    assert Path(bed.places[0].results, "runs", RUN).is_dir()
    assert (are_noted(bed.folder), state_of(bed.folder).left[:1]) == (True, (results_of(bed.places[0]),))


def test_a_node_0_that_is_not_reached_keeps_it(bed):
    bed.silent = {"n0": "ssh: connect to host n0 port 22: Connection refused"}
    with pytest.raises(UsageError, match="bringing home the results: n0: ssh: connect .* refused"):
        bring_late(bed.folder, ())
    assert (are_noted(bed.folder), "results" in bed.remains("n0"), "results" in bed.remains("n1")) == (True, True, True)


def test_another_host_that_is_not_reached_holds_nothing_up(bed):
    bed.silent = {"n1": "no route"}
    assert bring_late(bed.folder, ()) == (RUN,)
    assert (are_noted(bed.folder), state_of(bed.folder).left) == (False, ())


@pytest.mark.parametrize(("host", "word"), [("n0", "files/node.sh"), ("n0", "results"), ("n1", "results")])
def test_nothing_is_taken_as_long_as_a_madrun_has_not_ended_on_a_host(bed, host, word):
    running = subprocess.Popen(["sh", "-c", "read line", f"{bed.nodes[host].folder}/launches/{ID}/{word}"], stdin=-1)
    try:
        with pytest.raises(UsageError, match=rf"{host}: its madrun \(pid {running.pid}\) has not ended there yet"):
            bring_late(bed.folder, ())
        assert (are_noted(bed.folder), "results" in bed.remains("n0"), bed.home.exists()) == (True, True, False)
        assert "files" in bed.remains("n1")
    finally:
        running.communicate(b"\n")
    assert bring_late(bed.folder, ()) == (RUN,)


def test_where_the_results_are_shared_only_what_was_carried_goes(bed):
    (bed.folder.path / leftbehind.PLACES).unlink()
    shutil.rmtree(bed.places[0].results)
    shared = Place(**{name: getattr(bed.places[0], name) for name in Place.__slots__} | {"results": "", "shared": True})
    note_places(bed.folder, (shared, bed.places[1]))
    assert bring_late(bed.folder, ()) == ()
    assert (are_noted(bed.folder), bed.remains("n1")) == (False, [])


def test_places_that_were_cut_are_told(bed):
    (bed.folder.path / leftbehind.PLACES).write_text('[{"host": "n0"')
    with pytest.raises(UsageError, match=r"places\.json cannot be read"):
        bring_late(bed.folder, ())

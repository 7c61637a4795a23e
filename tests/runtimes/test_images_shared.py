"""MAD_DOCKER_BUILDS: one node saves its image as a tar in a directory that all see, the others load it, with one id."""

import io
import json
import multiprocessing
import os
import tarfile
import threading
import time

import pytest
from docker.errors import APIError, ImageNotFound
from images_parts import engine_client, remove, watching
from requests import Response

from madrun.errors import BuildError
from madrun.node.imageplace import image_place
from madrun.runtimes.images import Policy, ensure, shared
from madrun.runtimes.images.imagetar import named_in, of_image
from madrun.spec.plan import SHARED, ImagePlan

NAME = "ci-one:latest"
IMAGE = ImagePlan(kind="ready", name=NAME, pull_from=SHARED)


class FakeEngine:
    """Its images by name; a tar of it holds the name and the id."""

    base_url, api_version = "http://engine", "1.41"

    def __init__(self, **images):
        self.images = {name.replace("_", "-") + ":latest": identity for name, identity in images.items()}
        self.hooks, self.saves, self.refuses = {"response": []}, 0, ""
        self.slow_s = 0.0

    def inspect_image(self, name):
        if name not in self.images:
            raise ImageNotFound(name)
        return {"Id": self.images[name], "RepoDigests": [f"ci-one@sha256:{id(self)}"]}

    def get(self, url, **_):
        self.saves += 1
        time.sleep(self.slow_s)
        name = url.removeprefix("http://engine/v1.41/images/").removesuffix("/get")
        answer = Response()
        answer.status_code, answer.raw = 200, io.BytesIO(tar_of(name, self.images[name]))
        return answer

    def load_image(self, data):
        if self.refuses:
            raise APIError(self.refuses)
        with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as tar:
            (entry,) = json.load(tar.extractfile("manifest.json"))
        self.images[entry["RepoTags"][0]] = entry["Config"]
        return []

    def remove_image(self, name):
        del self.images[name]

    def info(self):
        return {}


def tar_of(name, identity):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        text = json.dumps([{"Config": identity, "RepoTags": [name]}]).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return file.getvalue()


def had(engine, tmp_path, folder, node="a", watch=None, **policy):
    """The image as one node comes by it."""
    place = image_place(engine, None, tmp_path / f"locks-{node}", Policy(shared=folder, **policy))
    return ensure(place, IMAGE, {}, watch or watching()[0])


@pytest.fixture
def folder(tmp_path):
    """The directory that all nodes see."""
    path = tmp_path / "builds"
    path.mkdir()
    return path


@pytest.fixture
def saved(tmp_path, folder):
    """The tar of an image that one node has saved."""
    had(FakeEngine(ci_one="sha256:1"), tmp_path, folder)
    return of_image(folder, NAME).file


def test_what_one_node_has_the_other_loads_with_the_same_identity(tmp_path, folder):
    one, other = FakeEngine(ci_one="sha256:1"), FakeEngine()
    first, second = had(one, tmp_path, folder), had(other, tmp_path, folder, "b")
    assert (first.how, second.how) == ("found", "loaded")
    assert first.identity == second.identity == first.id == second.id == "sha256:1"
    tar = of_image(folder, NAME)
    assert sorted(path.name for path in folder.iterdir()) == sorted([tar.file.name, tar.notice.name])
    assert json.loads(tar.notice.read_text()) == {"image": NAME, "id": "sha256:1", "bytes": tar.file.stat().st_size}


def test_a_second_command_saves_nothing_again_and_a_wish_to_pull_changes_nothing(tmp_path, folder):
    engine = FakeEngine(ci_one="sha256:1")
    for _ in range(3):
        assert had(engine, tmp_path, folder, pull=True).how == "found"
    assert engine.saves == 1


def test_a_node_without_the_image_waits_for_the_one_that_has_it(tmp_path, folder):
    watch, _, shown = watching()
    other = threading.Timer(0.3, had, (FakeEngine(ci_one="sha256:1"), tmp_path, folder))
    other.start()
    assert had(FakeEngine(), tmp_path, folder, "b", watch).how == "loaded"
    other.join()
    assert shown[0].startswith(f"{NAME}: not on this host: waiting for {folder}")


def test_nobody_is_waited_for_without_end(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(shared, "PATIENCE_S", 0.1)
    with pytest.raises(BuildError, match=r"for 0\.1 s no node has begun to save it as .*registry_image"):
        had(FakeEngine(), tmp_path, folder)


def test_a_stop_ends_the_wait(tmp_path, folder):
    watch = watching()[0]
    threading.Timer(0.1, watch.stop.set).start()
    with pytest.raises(BuildError, match="the command has ended"):  # and not that nobody came in all its patience
        had(FakeEngine(), tmp_path, folder, watch=watch)


def test_a_stop_ends_the_saving_and_leaves_nothing(tmp_path, folder):
    watch, engine = watching()[0], FakeEngine(ci_one="sha256:1")
    get = engine.get
    engine.get = lambda *words, **more: watch.stop.set() or get(*words, **more)
    with pytest.raises(BuildError, match="the command has ended"):
        had(engine, tmp_path, folder, watch=watch)
    assert list(folder.iterdir()) == []


def test_without_the_directory_the_image_must_be_here(tmp_path):
    assert had(FakeEngine(ci_one="sha256:1"), tmp_path, None).how == "found"
    with pytest.raises(BuildError, match=r"not on this host.*local_image: true.*MAD_DOCKER_BUILDS") as error:
        had(FakeEngine(), tmp_path, None)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["missing", "file", "relative"])
@pytest.mark.parametrize("images", [{}, {"ci_one": "sha256:1"}])
def test_a_place_that_is_no_directory_is_named_and_never_made(tmp_path, name, images):
    place = tmp_path / name if name != "relative" else tmp_path.relative_to("/")
    if name == "file":
        place.write_text("")
    with pytest.raises(BuildError, match=rf"MAD_DOCKER_BUILDS: found '{place}'.*absolute path") as error:
        had(FakeEngine(**images), tmp_path, place)
    assert error.value.exit_code == 2
    assert name == "file" or name == "relative" or not place.exists()


@pytest.mark.parametrize("reason", ["Permission denied", "No space left on device"])
def test_a_directory_that_cannot_be_written_is_named(tmp_path, folder, monkeypatch, reason):
    def refuse(*_):
        raise OSError(1, reason)

    monkeypatch.setattr("madrun.data.claim.Queue.attempt" if reason.startswith("P") else "os.fsync", refuse)
    with pytest.raises(BuildError, match=f"MAD_DOCKER_BUILDS: {folder}: nothing can be written there: {reason}"):
        had(FakeEngine(ci_one="sha256:1"), tmp_path, folder)
    assert list(folder.iterdir()) == []


def test_another_image_of_that_name_on_this_host_is_no_silent_choice(tmp_path, folder, saved):
    engine = FakeEngine(ci_one="sha256:2")
    with pytest.raises(BuildError, match=f"sha256:2 on this host, sha256:1 in {saved}; remove"):
        had(engine, tmp_path, folder)
    saved.unlink()
    assert had(engine, tmp_path, folder).id == "sha256:2"
    assert had(FakeEngine(), tmp_path, folder, "b").id == "sha256:2"


def test_a_tar_that_is_cut_off_is_named(tmp_path, folder, saved):
    os.truncate(saved, 100)
    with pytest.raises(BuildError, match=rf"{saved} .*it has 100 bytes, and .* says \d+; remove"):
        had(FakeEngine(), tmp_path, folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no tar" * 500, "no tar of an image"), (tar_of("ci-two:latest", "sha256:1"), "another image: ci-two:latest")],
)
def test_a_tar_of_something_else_is_named_and_not_loaded(tmp_path, folder, saved, content, said):
    saved.write_bytes(content)
    notice = of_image(folder, NAME).notice
    notice.write_text(json.dumps(json.loads(notice.read_text()) | {"bytes": len(content)}))
    engine = FakeEngine()
    with pytest.raises(BuildError, match=said):
        had(engine, tmp_path, folder)
    assert engine.images == {}


def test_an_image_of_another_id_does_not_stay(tmp_path, folder, saved):
    saved.write_bytes(tar_of(NAME, "sha256:9"))
    engine = FakeEngine()
    with pytest.raises(BuildError, match=r"it holds sha256:9, and .* says sha256:1"):
        had(engine, tmp_path, folder)
    assert engine.images == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"image": "other", "id": "x", "bytes": 1}'])
def test_a_notice_that_says_nothing_is_named(tmp_path, folder, saved, text):
    of_image(folder, NAME).notice.write_text(text)
    with pytest.raises(BuildError, match=r"\.json (does not say|says that)"):
        had(FakeEngine(), tmp_path, folder)


def test_what_the_engine_says_against_the_tar_is_shown(tmp_path, folder, saved):
    engine = FakeEngine()
    engine.refuses = "no space left on device"
    with pytest.raises(BuildError, match=r"cannot load it: no space left on device(.|\n)*storage is full"):
        had(engine, tmp_path, folder)


@pytest.mark.parametrize("tag", ["localhost/ci-one:latest", "docker.io/library/ci-one:latest", "ci-one:latest"])
def test_names_are_compared_as_engines_read_them(tmp_path, tag):
    (tmp_path / "x.tar").write_bytes(tar_of(tag, "sha256:1"))
    assert named_in(tmp_path / "x.tar", "ci-one") == ["ci-one"]


def test_two_names_never_share_a_tar(tmp_path):
    assert of_image(tmp_path, "a/b:1").file != of_image(tmp_path, "a_b:1").file


def test_of_two_processes_one_saves(tmp_path, folder):
    fork = multiprocessing.get_context("fork")
    start, saves = fork.Barrier(2), fork.Queue()

    def node(which):
        engine = FakeEngine(ci_one="sha256:1")
        engine.slow_s = 0.2
        start.wait()
        had(engine, tmp_path, folder, which)
        saves.put(engine.saves)

    nodes = [fork.Process(target=node, args=(which,)) for which in "ab"]
    for one in nodes:
        one.start()
    assert sorted(saves.get(timeout=60) for _ in nodes) == [0, 1]
    for one in nodes:
        one.join()
    assert len(list(folder.glob("*.tar"))) == 1
    assert list(folder.glob(".*")) == []


@pytest.mark.docker
@pytest.mark.beside
def test_a_real_image_comes_back_as_what_it_was(tmp_path, folder):
    client = engine_client()
    name = f"madrun/test-shared:{os.getpid()}"
    plan = ImagePlan(kind="ready", name=name, pull_from=SHARED)
    layer, word = io.BytesIO(), b"kept"
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("word")
        entry.size = len(word)
        tar.addfile(entry, io.BytesIO(word))
    client.import_image_from_data(layer.getvalue(), repository="madrun/test-shared", tag=str(os.getpid()))
    try:
        place = image_place(client, None, tmp_path / "locks", Policy(shared=folder))
        first = ensure(place, plan, {}, watching()[0])
        client.remove_image(name)
        with pytest.raises(ImageNotFound):
            client.inspect_image(first.id)
        second = ensure(place, plan, {}, watching()[0])
        assert (first.how, second.how) == ("found", "loaded")
        assert first.id == second.id == second.identity == client.inspect_image(name)["Id"]
    finally:
        remove(client, name)
        client.close()

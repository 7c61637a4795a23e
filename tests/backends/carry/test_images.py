"""Images on their way: checked before an engine gets their end, and compared once they are loaded."""

import hashlib
import json
import os
import threading

import pytest

from madrun.backends.carry.images import Image, Way, branches, images_here, send_image
from madrun.backends.carry.talk import Interrupted, Talk, Target, Trouble
from madrun.errors import EngineError, UsageError

SEEN = {
    "Id": "sha256:aa",
    "RootFS": {"Layers": ["sha256:l1"]},
    "Config": {"Env": ["A=1"], "Cmd": ["sh"], "Labels": {"recipe": "r"}},
    "RepoDigests": [],
    "Size": 7,
}
# An engine whose one image is a file: `load` keeps what comes to its end, `save` gives what lies in `image`.
ENGINE = """cd {folder}
case "$1" in
load) cat >loading || exit 1; if [ -e full ]; then echo 'no space left on device' >&2; exit 1; fi
      mv loading loaded; echo Loaded ;;
save) cat image; {after} ;;
image) if [ -e {has} ]; then echo '[{seen}]'; else echo 'No such image' >&2; exit 1; fi ;;
esac"""


def engine(folder, has="loaded", seen=SEEN, after="true"):
    folder.mkdir(exist_ok=True)
    return ENGINE.format(folder=folder, has=has, seen=json.dumps(seen), after=after)


@pytest.fixture
def image(tmp_path, monkeypatch):
    """Makes an image of this host's engine, whose archive is these bytes."""

    def make(data=b"an archive" * 100_000, after="true"):
        folder = tmp_path / "head"
        folder.mkdir()
        (folder / "image").write_bytes(data)
        program = folder / "docker"
        program.write_text(f"#!/bin/sh\n{engine(folder, has='image', after=after)}\n")
        program.chmod(0o755)
        seen = {"id": "aa", "layers": ["sha256:l1"], "registry": False, "size": 7}
        said = {"Env": ["A=1"], "Cmd": ["sh"], "Labels": {"recipe": "r"}}
        config = {**dict.fromkeys(("Entrypoint", "User", "WorkingDir")), **said}
        return Image(name="one:1", engine=str(program), seen={**seen, "config": config})

    return make


def way(node, packed=False):
    return Way(starter=node, packed=packed, fanout=2, folder="~/.cache/madrun")


@pytest.mark.parametrize("packed", [False, True])
def test_an_image_comes_whole(near_node, calm_head, image, tmp_path, packed):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    send_image(image(), [near_node.target], way(near_node, packed), calm_head)
    assert (tmp_path / "engine/loaded").read_bytes() == b"an archive" * 100_000


def frames(data, digest=None, size=1000):
    parts = [data[begin : begin + size] for begin in range(0, len(data), size)]
    whole = b"".join(b"%08x" % len(part) + part for part in parts)
    return whole + b"%08x" % 0 + (digest or hashlib.sha256(data).hexdigest()).encode()


def taken(node, sent):
    question = {"do": "image", "folder": "~", "name": "one:1", "packed": "no", "engine": "docker"}
    with Talk(node, node.target, question, threading.Event()) as talk:
        talk.send(sent)
        return talk.reply()


def test_a_flipped_byte_is_refused_before_the_engine_has_the_end(near_node, tmp_path):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    right = frames(b"an archive" * 1000)
    wrong = right[:4000] + bytes([right[4000] ^ 1]) + right[4001:]
    with pytest.raises(Trouble, match="what came is not what was sent: the image was refused"):
        taken(near_node, wrong)
    assert not (tmp_path / "engine/loaded").exists()
    assert taken(near_node, right)["image"]["id"] == "aa"


@pytest.mark.parametrize("kept", [5, 4000, 9_900])
def test_a_way_that_breaks_leaves_no_image(near_node, tmp_path, kept):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    with pytest.raises(Trouble, match="the connection ended in the middle of the image"):
        taken(near_node, frames(b"an archive" * 1000)[:kept])
    assert not (tmp_path / "engine/loaded").exists()


def test_what_is_no_frame_is_refused(near_node, tmp_path):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    with pytest.raises(Trouble, match="came broken|ValueError"):
        taken(near_node, b"ffffffff" + b"x" * 100)


def test_a_full_disk_is_told_in_the_words_of_the_engine(near_node, calm_head, image, tmp_path):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    (tmp_path / "engine/full").touch()
    with pytest.raises(UsageError, match=r"carrying image one:1:\n  n0: docker load: no space left on device"):
        send_image(image(), [near_node.target], way(near_node), calm_head)


@pytest.mark.parametrize("packed", [False, True])
def test_an_engine_that_ends_early_is_heard(near_node, calm_head, image, packed):
    near_node.has_program("docker", "echo 'cannot connect to the daemon' >&2; exit 1")
    with pytest.raises(UsageError, match="n0: docker load: cannot connect to the daemon"):
        send_image(image(os.urandom(5_000_000)), [near_node.target], way(near_node, packed), calm_head)


def test_another_image_under_the_name_is_refused(near_node, calm_head, image, tmp_path):
    near_node.has_program("docker", engine(tmp_path / "engine", seen={**SEEN, "Id": "sha256:bb", "Config": {}}))
    with pytest.raises(UsageError, match="n0: its engine has another image of that name"):
        send_image(image(), [near_node.target], way(near_node), calm_head)


@pytest.mark.slow
def test_an_image_that_cannot_be_saved_is_not_loaded_in_part(near_node, calm_head, image, tmp_path):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    made = image(after="echo 'layer is gone' >&2; exit 3")
    with pytest.raises(EngineError, match="save one:1 failed on this host: layer is gone"):
        send_image(made, [near_node.target], way(near_node), calm_head)
    assert not (tmp_path / "engine/loaded").exists()


def test_a_signal_ends_the_sending(near_node, calm_head, image, tmp_path):
    near_node.has_program("docker", engine(tmp_path / "engine"))
    made = image(after="exec sleep 60")
    threading.Timer(0.3, calm_head.stop.set).start()
    with pytest.raises((Interrupted, EngineError)):
        send_image(made, [near_node.target], way(near_node), calm_head)
    assert not (tmp_path / "engine/loaded").exists()


def test_images_are_alike_by_id_or_by_content(image):
    made = image()
    assert made.is_like({"id": "aa", "layers": [], "config": {}})
    assert made.is_like({**made.seen, "id": "other"})
    assert not made.is_like({**made.seen, "id": "other", "config": {}})
    assert not made.is_like(None)
    assert not Image(name="", engine="", seen={**made.seen, "layers": []}).is_like(
        {**made.seen, "layers": [], "id": ""}
    )


@pytest.mark.parametrize(("key", "value"), [("User", "me"), ("WorkingDir", "/app"), ("Entrypoint", ["x"])])
def test_images_whose_programs_start_otherwise_are_not_alike(near_node, calm_head, image, tmp_path, key, value):
    other = {**SEEN, "Id": "sha256:bb", "Config": {**SEEN["Config"], key: value}}
    near_node.has_program("docker", engine(tmp_path / "engine", seen=other))
    with pytest.raises(UsageError, match="n0: its engine has another image of that name"):
        send_image(image(), [near_node.target], way(near_node), calm_head)


def test_images_of_this_host_are_those_that_its_engines_have(image, monkeypatch):
    program = image().engine
    monkeypatch.setenv("PATH", program.rpartition("/")[0] + ":/usr/bin:/bin")
    (found,) = images_here(["one:1", "one:1"])
    assert (found.name, found.engine, found.size, found.of_registry) == ("one:1", "docker", 7, False)


def test_a_tree_has_every_host_once_and_is_low():
    targets = [Target(host=f"n{number}", python="p") for number in range(20)]

    def walk(found, depth=1):
        for target, below in found:
            yield target.host, depth
            assert len(below) <= 2
            yield from walk(below, depth + 1)

    seen = dict(walk(branches(targets)))
    assert sorted(seen) == sorted(target.host for target in targets)
    assert max(seen.values()) == 4
    assert branches([]) == [] and [one[0].host for one in branches(targets[:2])] == ["n0", "n1"]


@pytest.fixture
def four(near_node, tmp_path):
    """Four nodes that reach each other by ssh; the last one is reached by nobody but the head."""
    nodes = {}
    for number in range(4):
        name = f"n{number}"
        programs = tmp_path / name
        programs.mkdir()
        nodes[name] = type(near_node)(near_node.home, programs, name)
        nodes[name].has_program("docker", engine(tmp_path / f"engine-{name}"))
        nodes[name].has_program(
            "ssh",
            f"""while [ "$1" != -- ]; do shift; done
echo "{name} $2" >>{tmp_path}/passed
[ "$2" = n3 ] && exit 255
PATH={tmp_path}/$2:/usr/bin:/bin exec sh -c "$3\"""",
        )
    return nodes


@pytest.mark.slow
def test_in_a_tree_nodes_pass_it_on_and_who_is_not_reached_gets_it_from_the_head(four, calm_head, image, tmp_path):
    class Starter:
        def start(self, host, script):
            return four[host].start(host, script)

    made = image()
    targets = [node.target for node in four.values()]
    tree = Way(starter=Starter(), packed=False, fanout=8, folder="~/.cache/madrun", tree=True)
    send_image(made, targets, tree, calm_head)
    assert (tmp_path / "passed").read_text().split("\n")[:-1] in (["n0 n2", "n0 n3"], ["n0 n3", "n0 n2"])
    assert calm_head.said == ["image one:1: not passed on to n3, so it goes there from here"]
    for name in four:
        assert (tmp_path / f"engine-{name}/loaded").read_bytes() == b"an archive" * 100_000

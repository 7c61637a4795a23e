"""What a repeated plan stands on, held against a fake engine and real folders."""

import json
from dataclasses import replace

import pytest

from madrun.cli.standing import check_paths, image_here, there_again
from madrun.errors import ContextError
from madrun.spec.data import Fetch
from madrun.spec.facts import GitState
from madrun.spec.plan import ImagePlan, Mount


class Engine:
    """Knows these images by name."""

    def __init__(self, **images):
        self.images, self.asked = images, []

    def inspect_image(self, name):
        from docker.errors import ImageNotFound

        self.asked.append(name)
        if name not in self.images:
            raise ImageNotFound("none")
        return self.images[name]


def built(bases, identity="recipe:then"):
    labels = {"madrun.recipe": "abc", "madrun.identity": identity, "madrun.bases": bases}
    return {"Id": "sha256:own", "RepoTags": ["img:abc"], "Config": {"Labels": labels}}


@pytest.fixture
def job(make_job):
    def make(kind):
        return make_job(runtime="docker", image=ImagePlan(kind=kind, name="img", dockerfile="D"))

    return make


def test_a_base_that_was_made_again_is_named_before_the_image_is(job):
    engine = Engine(img=built(json.dumps({"base": "sha256:1"})), base={"Id": "sha256:2"})
    here = image_here(engine, job("build"))
    assert here.changes("recipe:then") == ["base base sha256:1 -> sha256:2"]
    assert engine.asked == ["img", "base"]


def test_an_image_that_is_as_it_was_is_no_change(job):
    engine = Engine(img=built(json.dumps({"base": "sha256:1", "gone": "sha256:3"})), base={"Id": "sha256:1"})
    assert image_here(engine, job("build")).changes("recipe:then") == []
    assert image_here(engine, job("build")).changes("recipe:other") == ["image recipe:other -> recipe:then"]


def test_an_image_that_is_not_here_is_compared_when_it_has_been_made(job):
    assert image_here(Engine(), job("build")).changes("recipe:then") == []
    assert image_here(None, job("build")).changes("recipe:then") == []


@pytest.mark.parametrize("label", ["[", "[1]", "", "null"])
def test_a_label_that_says_nothing_names_no_base(job, label):
    assert image_here(Engine(img=built(label)), job("build")).changes("recipe:then") == []


def test_a_ready_image_is_known_by_its_id_or_digest(job):
    here = image_here(Engine(img={"Id": "sha256:b", "RepoDigests": []}), job("ready"))
    assert here.changes("sha256:a") == ["image sha256:a -> sha256:b"]


def test_paths_that_have_gone_are_named(make_node, container, tmp_path):
    mounts = (Mount(source="{run_dir}/node-0/box", target="/madrun"), Mount(source=str(tmp_path / "m"), target="/m"))
    node = make_node(container=replace(container, mounts=mounts), process=None)
    with pytest.raises(ContextError, match="m, to be mounted at /m, does not exist on this host"):
        check_paths(node)
    (tmp_path / "m").touch()
    check_paths(node)


def test_mirrored_data_is_there_where_it_or_its_source_is(make_node, tmp_path):
    mirror, source = tmp_path / "mirror", tmp_path / "source"
    node = make_node(data_sources={"set": str(mirror)}, mirrors={"set": str(source)})
    with pytest.raises(ContextError, match="neither .*source nor its mirror .*mirror exists"):
        check_paths(node)
    for path in (source, mirror):
        path.mkdir()
        check_paths(node)
        path.rmdir()


def test_what_can_be_fetched_again_need_not_be_there(make_node, tmp_path):
    fetches = {"set": (Fetch(provider="aws", place="s3://bucket/set"),)}
    place = str(tmp_path / "none")
    check_paths(make_node(data_sources={"set": place}, mirrors={"set": "s3://bucket/set"}, fetches=fetches))


def test_changes_that_no_commit_holds_are_not_promised_back(tmp_path):
    assert there_again(GitState(), "/r", tmp_path) == []
    clean = there_again(GitState(commit="a" * 40), "/r", tmp_path)
    dirty = there_again(GitState(commit="a" * 40, dirty=True), "/r", tmp_path)
    assert f"git -C /r checkout aaaaaaaaaaaa -- {tmp_path}" in clean[1]
    assert "no commit holds" in dirty[1]

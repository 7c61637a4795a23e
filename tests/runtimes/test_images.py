"""Images are found, pulled or built, and known by an identity. The engine is a fake."""

import tarfile

import pytest
from docker.errors import ImageNotFound

from madrun.errors import BuildError
from madrun.runtimes.images import BASE, IDENTITY, RECIPE, ensure, identity_of
from madrun.spec.plan import ImagePlan

BUILD = ImagePlan(
    kind="build", name="madrun/cpu:abc", recipe="abc123", dockerfile="Dockerfile", context="docker", base="python:3",
    build_args={"BASE_DOCKER": "python:3"},
)  # fmt: skip
READY = ImagePlan(kind="ready", name="reg:5000/team/img:1")


class FakeEngine:
    """Images by name; a build or pull adds what it was asked for, or reports `error`."""

    def __init__(self, images=None, error=None):
        self.images, self.error = images or {}, error
        self.calls, self.contexts = [], []

    def inspect_image(self, name):
        if name not in self.images:
            raise ImageNotFound(name)
        return self.images[name]

    def pull(self, reference, tag, stream, decode):
        self.calls.append(("pull", reference, tag))
        if self.error:
            return [{"error": self.error}]
        self.images[f"{reference}:{tag}"] = {"Id": "sha256:pulled", "RepoDigests": ["img@sha256:digest"], "Config": {}}
        return [{"id": "layer", "status": "Pull complete"}, {"status": "x", "progress": "[=> ]"}]

    def build(self, fileobj, labels, tag, **options):
        self.calls.append(("build", tag, labels, options))
        with tarfile.open(fileobj=fileobj) as archive:
            self.contexts.append([(entry.name, entry.uid, entry.mtime) for entry in archive])
        if self.error:
            return [{"stream": "Step 1/2\nStep 2/2\n"}, {"error": self.error}]
        self.images[tag] = {"Id": "sha256:built", "Config": {"Labels": labels}}
        return [{"stream": "Step 1/2\n"}]


@pytest.fixture
def prepare(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    said = []

    def run(engine, image):
        prepared = ensure(engine, image, {"Dockerfile": tmp_path / "Dockerfile"}, tmp_path / "locks", said.append)
        return prepared, said

    return run


def base(identity="sha256:base"):
    return {"Id": identity, "Config": {}}


def test_an_image_that_is_there_is_used(prepare):
    engine = FakeEngine({READY.name: {"Id": "sha256:a", "Config": {}}})
    prepared, _ = prepare(engine, READY)
    assert (prepared.id, prepared.identity, prepared.how) == ("sha256:a", "sha256:a", "found")
    assert engine.calls == []


def test_an_image_that_is_missing_is_pulled_and_known_by_its_digest(prepare):
    engine = FakeEngine()
    prepared, said = prepare(engine, READY)
    assert engine.calls == [("pull", "reg:5000/team/img", "1")]
    assert (prepared.identity, prepared.how) == ("sha256:digest", "pulled")
    assert "layer Pull complete" in said


def test_an_image_that_cannot_be_pulled_is_named_with_what_to_do(prepare):
    with pytest.raises(
        BuildError, match=r"image reg:5000/team/img:1: not on this host.*denied(.|\n)*MAD_CONTAINER_IMAGE"
    ):
        prepare(FakeEngine(error="denied"), READY)


def test_a_recipe_is_built_once_with_its_labels_and_arguments(prepare):
    engine = FakeEngine({"python:3": base()})
    prepared, _ = prepare(engine, BUILD)
    ((_, tag, labels, options),) = engine.calls
    assert (tag, prepared.how) == ("madrun/cpu:abc", "built")
    assert (labels[RECIPE], labels[BASE]) == ("abc123", "sha256:base")
    assert prepared.identity == labels[IDENTITY]
    assert options["buildargs"] == {"BASE_DOCKER": "python:3"}
    assert engine.contexts == [[("Dockerfile", 0, 0)]]
    assert prepare(engine, BUILD)[0].how == "found"
    assert len(engine.calls) == 1


def test_two_hosts_that_build_one_recipe_on_one_base_agree(prepare):
    first = prepare(FakeEngine({"python:3": base()}), BUILD)[0].identity
    assert prepare(FakeEngine({"python:3": base()}), BUILD)[0].identity == first
    assert prepare(FakeEngine({"python:3": base("sha256:other")}), BUILD)[0].identity != first


def test_another_base_under_the_same_name_builds_again(prepare):
    engine = FakeEngine({"python:3": base()})
    prepare(engine, BUILD)
    engine.images["python:3"] = base("sha256:newer")
    assert prepare(engine, BUILD)[0].how == "built"


def test_a_failing_build_shows_its_last_lines_and_how_to_name_another_base(prepare):
    with pytest.raises(BuildError) as caught:
        prepare(FakeEngine({"python:3": base()}, error="returned a non-zero code: 7"), BUILD)
    text = str(caught.value)
    assert "the build of docker/Dockerfile failed (base python:3)" in text
    assert "  Step 2/2\n  returned a non-zero code: 7" in text
    assert "BASE_DOCKER" in text


@pytest.mark.parametrize(
    ("inspected", "identity"),
    [
        ({"Id": "i", "RepoDigests": ["r@sha256:d"], "Config": {"Labels": {IDENTITY: "recipe:x"}}}, "sha256:d"),
        ({"Id": "i", "RepoDigests": [], "Config": {"Labels": {IDENTITY: "recipe:x"}}}, "recipe:x"),
        ({"Id": "i", "RepoDigests": None, "Config": None}, "i"),
    ],
)
def test_the_identity_is_digest_then_recipe_then_id(inspected, identity):
    assert identity_of(inspected) == identity

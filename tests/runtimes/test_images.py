"""Images are found, pulled or built, and known by an identity. The engine is a fake."""

import json
import tarfile

import pytest
from docker.errors import APIError, ImageNotFound

from madrun.errors import BuildError
from madrun.runtimes.images import BASES, IDENTITY, RECIPE, Place, Policy, Watch, ensure, identity_of
from madrun.spec.facts import Engine
from madrun.spec.plan import ImagePlan

BUILD = ImagePlan(
    kind="build", name="madrun/cpu:abc123", recipe="abc123", dockerfile="Dockerfile", context="docker", base="python:3",
    build_args={"BASE_DOCKER": "python:3"},
)  # fmt: skip
READY = ImagePlan(kind="ready", name="reg:5000/team/img:1")
DOCKERFILE = "ARG BASE_DOCKER\nFROM ${BASE_DOCKER}\n"
AMD64 = Engine(name="docker", version="20.10", architecture="amd64")


class FakeEngine:
    """Images by name; a build or pull adds what it was asked for, or reports `error`."""

    def __init__(self, images=None, error=None, events=()):
        self.images, self.error, self.events = images or {}, error, events
        self.calls, self.contexts, self.inspected = [], [], []
        self.hooks = {"response": []}

    def inspect_image(self, name):
        self.inspected.append(name)
        if name not in self.images:
            raise ImageNotFound(name)
        return self.images[name]

    def pull(self, reference, tag, stream, decode):
        self.calls.append(("pull", reference, tag))
        if self.error:
            return [{"error": self.error}]
        name = f"{reference}:{tag}"
        self.images[name] = {"Id": "sha256:pulled", "RepoDigests": [f"{reference}@sha256:digest"], "Config": {}}
        return self.events

    def build(self, fileobj, labels, tag, **options):
        self.calls.append(("build", tag, labels, options))
        with tarfile.open(fileobj=fileobj) as archive:
            self.contexts.append([(entry.name, entry.uid, entry.mode) for entry in archive])
        if self.error:
            return [{"stream": "Step 1/2\nStep 2/2\n"}, {"error": self.error}]
        self.images[tag] = {"Id": "sha256:built", "Config": {"Labels": labels, "Env": ["A=1=2"]}, "RepoTags": [tag]}
        return [{"stream": "Step 1/2\n"}]

    def info(self):
        return {"DockerRootDir": "/var/lib/docker"}


@pytest.fixture
def prepare(tmp_path):
    """Runs `ensure`; returns what it prepared and the lines that were shown."""

    def run(engine, image, text=DOCKERFILE, facts=AMD64, policy=None, **watched):
        (tmp_path / "Dockerfile").write_text(text)
        said = []
        place = Place(client=engine, lock_dir=tmp_path / "locks", engine=facts, policy=policy or Policy())
        watch = Watch(log=lambda line: None, show=said.append, **watched)
        return ensure(place, image, {"Dockerfile": tmp_path / "Dockerfile"}, watch), said

    return run


def base(identity="sha256:base", **more):
    return {"Id": identity, "Config": {}, **more}


def test_an_image_that_is_there_costs_one_question(prepare):
    config = {"Env": ["PATH=/bin", "CUDA_VERSION=12.8"], "Labels": {"maintainer": "x"}}
    engine = FakeEngine({READY.name: {"Id": "sha256:a", "Config": config, "Architecture": "amd64", "Os": "linux"}})
    prepared, said = prepare(engine, READY)
    assert (prepared.id, prepared.identity, prepared.how) == ("sha256:a", "sha256:a", "found")
    assert prepared.env == {"PATH": "/bin", "CUDA_VERSION": "12.8"}
    assert (prepared.labels, prepared.architecture) == ({"maintainer": "x"}, "amd64")
    assert (engine.calls, engine.inspected, said) == ([], [READY.name], [])


def test_a_recipe_that_was_built_costs_one_question_more_for_each_base(prepare):
    engine = FakeEngine({"python:3": base()})
    prepare(engine, BUILD)
    engine.inspected.clear()
    assert prepare(engine, BUILD)[0].how == "found"
    assert engine.inspected == [BUILD.name, "python:3"]


def test_an_image_that_is_missing_is_pulled_and_known_by_its_digest(prepare):
    events = ({"id": "5ec63f3da6af", "status": "Pull complete"}, {"status": "Digest: sha256:of-the-list"})
    prepared, said = prepare(engine := FakeEngine(events=events), READY)
    assert engine.calls == [("pull", "reg:5000/team/img", "1")]
    assert (prepared.identity, prepared.how) == ("sha256:digest", "pulled")
    assert said == [f"pulling {READY.name}", f"pulled {READY.name}: sha256:digest"]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("unauthorized: authentication required", "docker login reg:5000, as the user who runs madrun"),
        ("manifest for reg:5000/team/img:1 not found: manifest unknown", "has no such tag or digest"),
        ("no matching manifest for linux/amd64 in the manifest list entries", "other architectures only"),
        ("dial tcp 10.0.0.1:5000: connect: connection refused", "nothing answers at the registry's address"),
        ("what nobody has seen", "check the name"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named_with_what_to_do(prepare, text, advice):
    with pytest.raises(BuildError) as caught:
        prepare(FakeEngine(error=text), READY)
    said = str(caught.value)
    assert said.startswith(f"image reg:5000/team/img:1: not on this host, and it could not be pulled: {text}\n")
    assert advice in said
    assert "MAD_CONTAINER_IMAGE" in said


def test_a_recipe_is_built_once_with_its_labels_and_arguments(prepare):
    engine = FakeEngine({"python:3": base()})
    prepared, _ = prepare(engine, BUILD)
    ((_, tag, labels, options),) = engine.calls
    assert (tag, prepared.how, prepared.env) == (BUILD.name, "built", {"A": "1=2"})
    assert (labels[RECIPE], json.loads(labels[BASES])) == ("abc123", {"python:3": "sha256:base"})
    assert prepared.identity == labels[IDENTITY]
    assert options["buildargs"] == {"BASE_DOCKER": "python:3"}
    assert engine.contexts == [[("Dockerfile", 0, 0o644)]]
    assert prepare(engine, BUILD)[0].how == "found"
    assert len(engine.calls) == 1


def test_two_hosts_that_build_one_recipe_on_one_base_agree(prepare):
    first = prepare(FakeEngine({"python:3": base()}), BUILD)[0].identity
    assert first.startswith("recipe:")
    assert prepare(FakeEngine({"python:3": base()}), BUILD)[0].identity == first
    assert prepare(FakeEngine({"python:3": base("sha256:other")}), BUILD)[0].identity != first


def test_every_base_of_the_image_counts_and_one_that_is_missing_is_pulled_first(prepare):
    text = "FROM tools:1 AS tools\nFROM unused:1\nFROM python:3\nCOPY --from=tools /a /a\nCOPY --from=extra:1 /b /b\n"
    engine = FakeEngine({"python:3": base(), "tools:1": base("sha256:tools"), "unused:1": base("sha256:no")})
    prepare(engine, BUILD, text)
    assert [call[:2] for call in engine.calls] == [("pull", "extra"), ("build", BUILD.name)]
    ids = {"python:3": "sha256:base", "tools:1": "sha256:tools", "extra:1": "sha256:pulled"}
    assert json.loads(engine.calls[1][2][BASES]) == ids
    engine.images["tools:1"] = base("sha256:newer")
    assert prepare(engine, BUILD, text)[0].how == "built"
    engine.images["unused:1"] = base("sha256:newer")
    del engine.images["extra:1"]
    assert prepare(engine, BUILD, text)[0].how == "found"


def test_a_failing_build_shows_its_last_lines_and_how_to_name_another_base(prepare):
    with pytest.raises(BuildError) as caught:
        prepare(FakeEngine({"python:3": base()}, error="returned a non-zero code: 7"), BUILD)
    text = str(caught.value)
    assert "the build of docker/Dockerfile failed (base python:3)" in text
    assert "  Step 2/2\n  returned a non-zero code: 7" in text
    assert "BASE_DOCKER" in text


def test_output_in_pieces_is_shown_in_lines_without_colours_and_without_what_was_written_over(prepare):
    pieces = ["Step 1/2", " : FROM x", "\n", "\x1b[91mWARN", "ING\x1b[0m\n 10%\r 90%\r100%\r\nlast"]
    engine = FakeEngine({"python:3": base()})
    engine.build = lambda **_: [{"stream": piece} for piece in pieces] + [{"error": "failed"}]
    with pytest.raises(BuildError) as caught:
        prepare(engine, BUILD)
    assert "\n  Step 1/2 : FROM x\n  WARNING\n  100%\n  last\n  failed\n" in str(caught.value)


def test_no_line_and_no_error_shows_a_secret(prepare):
    engine = FakeEngine({"python:3": base()}, error="token s3cr3t-value was refused")
    with pytest.raises(BuildError, match=r"token \*\*\* was refused"):
        prepare(engine, BUILD, secrets={"HF_TOKEN": "s3cr3t-value"})


def test_an_engine_that_answers_with_an_error_is_quoted(prepare):
    engine = FakeEngine({"python:3": base()})
    engine.build = lambda **_: (_ for _ in ()).throw(APIError("x", explanation="dockerfile parse error line 3"))
    with pytest.raises(BuildError, match="dockerfile parse error line 3"):
        prepare(engine, BUILD)


@pytest.mark.parametrize("text", ["RUN --mount=type=cache,target=/c true", "RUN <<EOF\ntrue\nEOF"])
def test_a_dockerfile_that_needs_buildkit_is_not_begun_without_it(prepare, text):
    engine = FakeEngine({"python:3": base()})
    with pytest.raises(BuildError, match=r"docker/Dockerfile needs BuildKit \(line 3: RUN .*buildx"):
        prepare(engine, BUILD, DOCKERFILE + text)
    assert engine.calls == []
    podman = Engine(name="podman", version="4.3", architecture="amd64")
    assert prepare(engine, BUILD, DOCKERFILE + text, facts=podman)[0].how == "built"


@pytest.mark.parametrize(
    ("architecture", "system", "fits"),
    [("amd64", "linux", True), ("386", "linux", True), ("", "", True), ("arm64", "linux", False)]
    + [("amd64", "windows", False)],
)
def test_an_image_of_another_architecture_is_refused(prepare, architecture, system, fits):
    engine = FakeEngine({READY.name: {"Id": "i", "Config": {}, "Architecture": architecture, "Os": system}})
    if fits:
        assert prepare(engine, READY)[0].id == "i"
        return
    with pytest.raises(BuildError, match=rf"is for {system}/{architecture}, this host's engine runs linux/amd64"):
        prepare(engine, READY)


def test_a_base_of_another_architecture_is_refused_before_the_build(prepare):
    engine = FakeEngine({"python:3": base(Architecture="arm64", Os="linux")})
    with pytest.raises(BuildError, match=r"image python:3 is for linux/arm64.*BASE_DOCKER"):
        prepare(engine, BUILD)
    assert engine.calls == []


@pytest.mark.parametrize(
    "text",
    [
        # Said by docker 20.10.24 whose storage was a tmpfs of 48 MiB: the classic builder, BuildKit, and a pull.
        "Error processing tar file(exit status 1): write /big: no space left on device",
        "failed to load cache key: write /tmp/small/overlay2/i8f69x/diff/context: no space left on device",
        "error creating temporary lease: write /tmp/small/containerd/daemon/io.containerd.metadata.v1.bolt/meta.db: "
        "no space left on device: unknown",
        # Said by dd in a RUN of a build.
        "dd: error writing '/big': No space left on device",
    ],
)
def test_a_full_disk_is_named_with_the_engines_storage(prepare, text):
    engine = FakeEngine({"python:3": base()}, error=text)
    for image in (BUILD, READY):
        with pytest.raises(BuildError, match=r"full: /var/lib/docker on the engine's host; docker system df.*prune"):
            prepare(engine, image)


RECIPE_LABELS = {RECIPE: "abc123", IDENTITY: "recipe:x"}


@pytest.mark.parametrize(
    ("inspected", "identity"),
    [
        ({"Id": "i", "RepoDigests": ["r@sha256:d"], "Config": {"Labels": RECIPE_LABELS}}, "sha256:d"),
        ({"Id": "i", "RepoDigests": ["r@sha256:d", "reg:1/team/x@sha256:e"], "Config": {}}, "sha256:e"),
        ({"Id": "i", "RepoDigests": [], "RepoTags": ["m:abc123"], "Config": {"Labels": RECIPE_LABELS}}, "recipe:x"),
        ({"Id": "i", "RepoDigests": None, "Config": None}, "i"),
    ],
)
def test_the_identity_is_digest_then_recipe_then_id(inspected, identity):
    assert identity_of(inspected, "reg:1/team/x:2") == identity


def test_an_image_made_from_a_built_one_does_not_inherit_its_identity():
    inherited = {"Id": "i", "RepoTags": ["mine:1"], "Config": {"Labels": RECIPE_LABELS}}
    assert identity_of(inherited, "mine:1") == "i"


def test_a_built_image_that_was_pushed_is_still_known_by_its_recipe(prepare):
    engine = FakeEngine({"python:3": base()})
    built = prepare(engine, BUILD)[0].identity
    engine.images[BUILD.name]["RepoDigests"] = ["reg/x@sha256:pushed"]
    assert prepare(engine, BUILD)[0].identity == built


def test_pull_takes_ready_images_and_bases_anew_once_in_a_command(prepare):
    engine = FakeEngine({READY.name: base(), "python:3": base()})
    assert prepare(engine, READY, policy=Policy())[0].how == "found"
    policy = Policy(pull=True)
    assert [prepare(engine, READY, policy=policy)[0].how for _ in range(2)] == ["pulled", "found"]
    assert prepare(engine, BUILD, policy=policy)[0].how == "built"
    assert prepare(engine, BUILD, policy=policy)[0].how == "found"
    assert [call[1] for call in engine.calls] == ["reg:5000/team/img", "python", BUILD.name]


def test_an_image_that_lies_here_and_cannot_be_pulled_anew_is_not_said_to_be_missing(prepare):
    engine = FakeEngine({READY.name: base()}, error="no such host")
    with pytest.raises(BuildError, match=r"--pull was given, and it could not be pulled: no such host"):
        prepare(engine, READY, policy=Policy(pull=True))

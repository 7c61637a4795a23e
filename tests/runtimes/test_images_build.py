"""Builds by a real engine, with BuildKit and with the classic builder."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from images_parts import base_image, engine_client, place_of, recipe, remove, watching

from madrun.errors import BuildError
from madrun.runtimes.images import Place, ensure
from madrun.spec.facts import Engine
from madrun.spec.plan import ImagePlan

pytestmark = pytest.mark.docker
SECRET = "s3cr3t-of-the-build"


@pytest.fixture(scope="module")
def client():
    made = engine_client()
    yield made
    made.close()


@pytest.fixture(scope="module")
def base():
    return base_image()


@pytest.fixture(params=["buildkit", "classic"])
def place(request, client, tmp_path_factory):
    return place_of(client, request.param, tmp_path_factory.mktemp("locks"))


def sleepers(mark):
    """Processes whose command line begins with the mark, zombies left out."""
    found = subprocess.run(["pgrep", "-f", f"^{mark}"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if "Z" not in _state(pid)]


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def sleeping(base, mark):
    return f'FROM {base}\nSHELL ["bash", "-c"]\nRUN exec -a {mark} sleep 300\n'


def test_a_build_is_shown_logged_labelled_and_found_the_next_time(place, base, tmp_path):
    (tmp_path / "run.sh").write_text("echo\n")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "link").symlink_to("run.sh")
    (tmp_path / "empty").mkdir(mode=0o700)
    (tmp_path / "private").write_text("")
    (tmp_path / "private").chmod(0o600)
    text = f"ARG BASE_DOCKER\nFROM ${{BASE_DOCKER}}\nENV AT={tmp_path}\nCOPY . /context\n"
    text += "RUN cd /context && stat -c '%N is %a %u:%g %y' run.sh link empty private && grep -q . Dockerfile\n"
    watch, logged, shown = watching()
    with recipe(place.client, tmp_path, text, BASE_DOCKER=base) as (image, context):
        made = ensure(place, image, context, watch)
        assert (made.how, made.architecture) == ("built", place.client.version()["Arch"])
        assert made.identity.startswith("recipe:")
        assert "PATH" in made.env
        again = ensure(place, image, context, watch)
        assert (again.how, again.id, again.identity) == ("found", made.id, made.identity)
    listed = [re.sub(r"^#\d+ [\d.]+ ", "", line) for line in shown if " is " in line]
    when = "0:0 2000-01-01 00:00:00.000000000 +0000"
    assert [line for line in listed if " 0:0 " in line] == [
        f"'run.sh' is 755 {when}", f"'link' -> 'run.sh' is 777 {when}", f"'empty' is 755 {when}",
        f"'private' is 644 {when}",
    ]  # fmt: skip
    assert set(shown) <= set(logged)


def test_the_step_that_failed_is_in_the_error_with_its_last_lines(place, base, tmp_path):
    text = f"FROM {base}\nENV AT={tmp_path}\nRUN for i in $(seq 60); do echo line $i; done; echo the wall; exit 9\n"
    with recipe(place.client, tmp_path, text) as (image, context):
        watch, logged, _ = watching()
        with pytest.raises(BuildError) as caught:
            ensure(place, image, context, watch)
    said = str(caught.value)
    assert "the wall" in said
    assert "line 60" in said
    assert "line 10\n" not in said
    assert "9" in said.splitlines()[-2]
    assert [line for line in logged if line.endswith("line 10")]


def test_a_syntax_error_of_the_dockerfile_is_quoted(place, base, tmp_path):
    with (
        recipe(place.client, tmp_path, f"FROM {base}\nRUNN true\n") as (image, context),
        pytest.raises(BuildError, match=r"(?i)unknown instruction: RUNN"),
    ):
        ensure(place, image, context, watching()[0])


def test_a_secret_argument_reaches_the_build_and_no_command_line(place, base, tmp_path):
    mark = f"sleeping-{tmp_path.name}-{os.getpid()}"
    text = (
        f'FROM {base}\nARG HF_TOKEN\nSHELL ["bash", "-c"]\nRUN test "$HF_TOKEN" = {SECRET} && exec -a {mark} sleep 2\n'
    )
    seen = []
    with recipe(place.client, tmp_path, text, HF_TOKEN=SECRET) as (image, context):
        watch, logged, _ = watching(secrets={"HF_TOKEN": SECRET})
        work = threading.Thread(target=ensure, args=(place, image, context, watch))
        work.start()
        until(lambda: sleepers(mark), 30, "the build step")
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            words = entry.read_bytes() if entry.exists() else b""
            if b"--build-arg" in words:
                seen.append(words)
        work.join()
        assert ensure(place, image, context, watch).how == "found"
    assert all(SECRET.encode() not in words for words in seen)
    assert not [line for line in logged if SECRET in line]


def test_a_stop_ends_the_build_and_its_step(place, base, tmp_path):
    mark = f"sleeping-{tmp_path.name}-{os.getpid()}"
    with recipe(place.client, tmp_path, sleeping(base, mark)) as (image, context):
        watch, _, _ = watching()
        failed = []

        def work():
            with pytest.raises(BuildError) as caught:
                ensure(place, image, context, watch)
            failed.append(caught.value)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: sleepers(mark), 30, "the build step")
        watch.stop.set()
        thread.join(60)
        assert not thread.is_alive()
        until(lambda: not sleepers(mark), 10, "the end of the build step")
        assert len(failed) == 1


KILLED = """
import sys
from images_parts import engine_client, place_of, recipe, watching
from madrun.runtimes.images import ensure
from pathlib import Path
folder, builder, text = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
client = engine_client()
with recipe(client, folder, text) as (image, context):
    ensure(place_of(client, builder, folder / "locks"), image, context, watching()[0])
"""


@pytest.mark.parametrize("builder", ["buildkit", "classic"])
def test_a_killed_madrun_leaves_no_build_behind(client, base, tmp_path, builder):
    place_of(client, builder, tmp_path)  # skips where there is no such builder
    mark = f"sleeping-{tmp_path.name}-{os.getpid()}"
    (tmp_path / "context").mkdir()
    here = str(Path(__file__).parent)
    words = [sys.executable, "-c", KILLED, str(tmp_path / "context"), builder, sleeping(base, mark)]
    child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": here}, start_new_session=True)
    try:
        until(lambda: sleepers(mark), 30, "the build step")
        clients = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True).stdout.split()
        assert len(clients) == (builder == "buildkit")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    until(lambda: not sleepers(mark), 5, "the end of the build step")
    assert all(_state(pid) == "Z" for pid in clients)


def test_what_only_buildkit_can_do_is_built_with_it(client, base, tmp_path):
    text = f"FROM {base}\nENV AT={tmp_path}\nRUN --mount=type=cache,target=/cache echo mounted > /cache/x\n"
    with recipe(client, tmp_path, text) as (image, context):
        with pytest.raises(BuildError, match=r"needs BuildKit \(line 3: RUN --mount\)"):
            ensure(place_of(client, "classic", tmp_path), image, context, watching()[0])
        assert ensure(place_of(client, "buildkit", tmp_path), image, context, watching()[0]).how == "built"


def test_a_frontend_that_no_registry_gives_is_named(client, base, tmp_path):
    text = f"# syntax=madrun.invalid/docker/dockerfile:1\nFROM {base}\nENV AT={tmp_path}\n"
    with recipe(client, tmp_path, text) as (image, context):
        with pytest.raises(BuildError, match=r"syntax=madrun.invalid/docker/dockerfile:1 makes BuildKit fetch"):
            ensure(place_of(client, "buildkit", tmp_path), image, context, watching()[0])
        assert ensure(place_of(client, "classic", tmp_path), image, context, watching()[0]).how == "built"


def test_a_change_of_the_base_builds_again_and_changes_the_identity(place, base, tmp_path):
    name = f"madrun-test-base:{os.getpid()}"
    try:
        place.client.tag(base, *name.split(":"))
        text = f"FROM {name}\nENV AT={tmp_path}\n"
        with recipe(place.client, tmp_path, text) as (image, context):
            first = ensure(place, image, context, watching()[0])
            dockerfile = io.BytesIO(f"FROM {base}\nENV NEW={tmp_path}\n".encode())
            stream = place.client.build(fileobj=dockerfile, tag=name, decode=True, rm=True, forcerm=True)
            assert [event for event in stream if "error" in event] == []
            second = ensure(place, image, context, watching()[0])
    finally:
        remove(place.client, name)
    assert (second.how, second.env["NEW"]) == ("built", str(tmp_path))
    assert second.identity != first.identity


def image_for(architecture, name):
    """An archive for `docker load` with one image of this architecture (Docker Image Specification v1.2)."""
    layer = io.BytesIO()
    tarfile.open(fileobj=layer, mode="w").close()
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": rootfs, "config": {}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for entry, content in (("config.json", config), ("layer.tar", layer.getvalue()), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def test_a_real_image_of_another_architecture_is_refused(client, tmp_path):
    mine = client.version()["Arch"]
    other = "arm64" if mine == "amd64" else "amd64"
    name = f"madrun-test-foreign:{os.getpid()}"
    list(client.load_image(image_for(other, name)))
    try:
        place = Place(client=client, lock_dir=tmp_path, engine=Engine(name="docker", version="", architecture=mine))
        with pytest.raises(BuildError, match=f"is for linux/{other}, this host's engine runs linux/{mine}"):
            ensure(place, ImagePlan(kind="ready", name=name), {}, watching()[0])
    finally:
        remove(client, name)

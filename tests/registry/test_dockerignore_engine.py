"""What docker itself takes from a folder with a .dockerignore, by either builder, is what we would send."""

import io
import os
import subprocess
import tarfile

import pytest
from images_parts import engine_client

from madrun.probe.buildkit import client_program
from madrun.registry.buildcontext import build_context

pytestmark = [pytest.mark.docker, pytest.mark.beside]
FILES = [
    "a.py", "b.txt", "README.md", "README-secret.md", "cache/x", "mycache", "d/a.py", "d/b.txt", "d/cache/y",
    "d/e/a.py", "d/e/b.txt", "d/keep/z", "temp1", "temp/t", "x[1]", "!odd", "#odd", "space d/s", "é/ü.py", ".hidden",
]  # fmt: skip
IGNORED = [
    "",
    "# comment\n\n*.py\n",
    "/d/\n",
    "d/../cache\n./a.py\n",
    "*/*.py\n",
    "**/*.py\n!d/e/a.py\n",
    "**/cache\n",
    "d/**\n",
    "d/**/b.txt\n",
    "*\n!d/keep\n",
    "*\n!*.md\nREADME-secret.md\n",
    "d\n!d/keep\n!d/e/*.py\n",
    "temp?\n",
    "x\\[1\\]\n",
    "[a-b].*\n",
    "[^a-d]*\n",
    "\\!odd\n\\#odd\n",
    "  space d  \n",
    "é\n",
    ".*\n!.hidden\n",
    "\ufeffa.py\r\nb.txt\r\n",
]
SENT_ANYWAY = {"Dockerfile", ".dockerignore"}


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "context" / "d" / "empty").mkdir()
    (tmp_path / "context" / "link").symlink_to("nowhere")
    (tmp_path / "context" / "Dockerfile").write_text("FROM scratch\nCOPY . /context/\n")
    return tmp_path / "context"


def by_buildkit(folder):
    found = client_program("")
    if found is None:
        pytest.skip("needs a docker client on PATH that can use BuildKit")
    words = [found[0], "build", "--quiet", "--output=type=tar,dest=-", str(folder)]
    return entries(subprocess.run(words, env=found[1], capture_output=True, check=True, timeout=60).stdout)


def by_the_classic_builder(folder):
    client = engine_client()
    words = ["docker", "build", "--quiet", "--rm", "--force-rm", str(folder)]
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(words, env=env, capture_output=True, check=True, text=True, timeout=60)
    image = done.stdout.split()[-1]
    container = client.create_container(image, "none")["Id"]
    try:
        return entries(b"".join(client.get_archive(container, "/context")[0]))
    finally:
        client.remove_container(container)
        client.remove_image(image, force=True)
        client.close()


def entries(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = [entry.name.strip("/").removeprefix("context").strip("/") for entry in tar]
    return sorted(set(names) - SENT_ANYWAY - {""})


def is_old():
    """Whether the client has the BuildKit of docker 20.10, whose rules were not yet those of today."""
    program, env = client_program("")
    return subprocess.run([program, "buildx", "version"], env=env, capture_output=True).returncode != 0


@pytest.mark.parametrize("take", [by_buildkit, by_the_classic_builder])
@pytest.mark.parametrize("ignored", IGNORED)
def test_we_send_what_docker_would_send(folder, ignored, take):
    (folder / ".dockerignore").write_text(ignored, encoding="utf-8", newline="")
    assert sorted(set(build_context(folder / "Dockerfile").entries) - SENT_ANYWAY) == take(folder)


@pytest.mark.parametrize(
    ("ignored", "today", "before"),
    [
        # An exception with a wildcard reaches into folders that are left out; the classic builder never looks there.
        ("*\n!**/*.py\n", {"a.py", "d", "d/a.py", "d/e", "d/e/a.py", "é", "é/ü.py"}, {"a.py"}),
        (
            "*\n!READ*\n!**cache/x\n",
            {"README.md", "README-secret.md", "cache", "cache/x"},
            {"README.md", "README-secret.md"},
        ),
    ],
)
def test_where_buildkit_has_changed_we_follow_the_buildkit_of_today(folder, ignored, today, before):
    (folder / ".dockerignore").write_text(ignored)
    assert set(build_context(folder / "Dockerfile").entries) - SENT_ANYWAY == today
    assert set(by_buildkit(folder)) == (before if is_old() else today)


def test_a_name_that_ends_in_what_follows_two_stars_is_left_out_by_the_rules_of_today(folder):
    (folder / ".dockerignore").write_text("**cache\n")
    sent = set(build_context(folder / "Dockerfile").entries) - SENT_ANYWAY
    assert set(by_buildkit(folder)) - sent == ({"mycache"} if is_old() else set())

"""Which docker client can use BuildKit. The clients are small scripts."""

import pytest

from madrun.probe.buildkit import client_program

WITH_BUILDX = 'if [ "$1" = buildx ]; then echo "github.com/docker/buildx v0.12.1"; else echo 28.2.2; fi'
# What docker 28.2.2 without the plugin says: `docker: unknown command: docker buildx`, exit code 1.
WITHOUT = 'if [ "$1" = buildx ]; then echo "docker: unknown command: docker buildx" >&2; exit 1; fi; echo VERSION'


@pytest.fixture
def path(tmp_path):
    """Makes a PATH of folders with these clients, in order."""

    def make(*texts):
        folders = []
        for number, text in enumerate(texts):
            folder = tmp_path / str(number)
            folder.mkdir()
            folders.append(str(folder))
            if text:
                (folder / "docker").write_text(f"#!/bin/sh\n{text}\n")
                (folder / "docker").chmod(0o755)
        return ":".join([*folders, "/usr/bin-that-is-not-there"])

    return make


def version(number):
    return WITHOUT.replace("VERSION", number)


def test_a_client_with_buildx_is_taken(path, tmp_path):
    program, env = client_program("unix:///x.sock", {"PATH": path(WITH_BUILDX), "HOME": "/h"})
    assert program == str(tmp_path / "0/docker")
    assert env["DOCKER_HOST"] == "unix:///x.sock"
    assert (env["DOCKER_BUILDKIT"], env["BUILDX_BUILDER"], env["HOME"]) == ("1", "default", "/h")


def test_without_an_address_the_users_own_stays(path):
    env = {"PATH": path(WITH_BUILDX), "DOCKER_HOST": "tcp://there:2375"}
    assert client_program("", env)[1]["DOCKER_HOST"] == "tcp://there:2375"


def test_a_newer_client_without_buildx_is_passed_over_for_one_that_has_buildkit_built_in(path, tmp_path):
    found = client_program("", {"PATH": path("", version("28.2.2"), version("20.10.24+dfsg1"))})
    assert found is not None
    assert found[0] == str(tmp_path / "2/docker")


@pytest.mark.parametrize("text", ["", version("28.2.2"), version("23.0.1"), version("18.06.0"), "exit 1", "echo odd"])
def test_without_such_a_client_there_is_none(path, text):
    if text == "echo odd":
        text = 'test "$1" = version && echo odd'
    assert client_program("", {"PATH": path(text)}) is None


def test_a_user_who_turned_buildkit_off_gets_none(path):
    assert client_program("", {"PATH": path(WITH_BUILDX), "DOCKER_BUILDKIT": "0"}) is None

"""Where images are pushed, with which login, and that what is made anew is made anew once."""

import pytest

from madrun.errors import BuildError, UsageError
from madrun.runtimes.images.ensure import _waiting
from madrun.runtimes.images.policy import Policy, host_of
from madrun.runtimes.images.watch import Stop, Watch
from madrun.spec.plan import ImagePlan

IMAGE = ImagePlan(kind="build", name="madrun/x:abc")
LOGIN = {"username": "ann", "password": "pw"}


@pytest.mark.parametrize(
    ("registry", "logins", "reference"),
    [
        ("localhost:5000", {}, "localhost:5000/madrun/x:abc"),
        ("reg.io/team/", {}, "reg.io/team/madrun/x:abc"),
        ("reg.io", {"reg.io": {**LOGIN, "repository": "one/repo"}}, "reg.io/one/repo:x-abc"),
        ("docker.io/team/repo", {}, "docker.io/team/repo:x-abc"),
        ("dockerhub", {"dockerhub": {**LOGIN, "repository": "team/repo"}}, "docker.io/team/repo:x-abc"),
    ],
)
def test_the_name_in_a_registry(registry, logins, reference):
    assert Policy(registry=registry, logins=logins).reference(IMAGE) == reference


def test_docker_hub_needs_a_repository():
    with pytest.raises(UsageError, match=r"found docker.io, where images need a repository.*MAD_DOCKERHUB_REPO"):
        Policy(registry="docker.io").reference(IMAGE)


def test_what_is_not_built_is_not_pushed():
    assert Policy(registry="reg.io").reference(ImagePlan(kind="ready", name="x")) == ""
    assert Policy().reference(IMAGE) == ""


@pytest.mark.parametrize(
    ("name", "host"),
    [("x", "docker.io"), ("team/x:1", "docker.io"), ("reg.io/x", "reg.io"), ("localhost/x", "localhost"),
     ("h:5000/x@sha256:0", "h:5000")],
)  # fmt: skip
def test_the_registry_of_a_name(name, host):
    assert host_of(name) == host


def test_a_login_is_that_of_the_registry():
    policy = Policy(logins={"dockerhub": LOGIN, "reg.io": {"username": "bob"}})
    assert policy.login("team/x") == LOGIN
    assert policy.login("reg.io/x") is None
    assert "pw" not in repr(policy)


def test_once_in_a_command():
    policy = Policy(fresh=True, pull=True)
    assert [policy.builds_anew(IMAGE), policy.builds_anew(IMAGE)] == [True, False]
    assert [policy.pulls_anew("b"), policy.pulls_anew("b"), policy.pulls_anew("c")] == [True, False, True]
    assert not Policy().builds_anew(IMAGE)


def test_a_wait_for_the_lock_of_another_command_is_told_and_ends_with_the_command():
    lines = []
    stop = Stop()
    waiting = _waiting(IMAGE, Watch(log=lambda _: None, show=lines.append, stop=stop))
    waiting(0.1)
    assert lines == []
    waiting(1.5)
    waiting(2.5)
    assert lines == [f"waiting for another command that makes {IMAGE.name}"]
    stop.set()
    with pytest.raises(BuildError, match="not waited for: the command has ended"):
        waiting(3.0)

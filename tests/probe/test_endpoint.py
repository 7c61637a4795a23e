"""Where an engine is looked for: environment, docker's configuration and contexts, the usual sockets."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import EngineError
from madrun.probe.endpoint import docker_endpoints, podman_endpoints


def write_context(home, name, meta):
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = home / ".docker/contexts/meta" / digest
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(meta if isinstance(meta, str) else json.dumps(meta))
    return digest


def context(host, **more):
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False, **more}}}


def addresses(endpoints):
    return [endpoint.address for endpoint in endpoints]


def test_without_a_word_the_usual_sockets_are_asked_rootful_first(tmp_path):
    assert addresses(docker_endpoints({"XDG_RUNTIME_DIR": "/run/user/7"}, tmp_path)) == [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        f"unix://{tmp_path}/.docker/run/docker.sock",
    ]


def test_docker_host_is_asked_alone_and_stands_above_a_context(tmp_path):
    env = {"DOCKER_HOST": "unix:///x.sock", "DOCKER_CONTEXT": "other"}
    (endpoint,) = docker_endpoints(env, tmp_path)
    assert (endpoint.address, endpoint.said_by, endpoint.tls) == ("unix:///x.sock", "DOCKER_HOST", None)


def test_docker_host_takes_its_certificates_from_docker_cert_path(tmp_path):
    env = {"DOCKER_HOST": "tcp://127.0.0.1:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    (endpoint,) = docker_endpoints(env, tmp_path)
    assert (str(endpoint.tls), endpoint.verify) == ("/certs", True)


@pytest.mark.parametrize("said_by", ["DOCKER_CONTEXT", "currentContext"])
def test_the_context_in_use_is_asked_alone(tmp_path, said_by):
    digest = write_context(tmp_path, "rootless", context("unix:///run/user/7/docker.sock"))
    (tmp_path / ".docker/contexts/tls" / digest / "docker").mkdir(parents=True)
    env = {}
    if said_by == "DOCKER_CONTEXT":
        env = {"DOCKER_CONTEXT": "rootless"}
    else:
        (tmp_path / ".docker/config.json").write_text(json.dumps({"currentContext": "rootless"}))
    (endpoint,) = docker_endpoints(env, tmp_path)
    assert endpoint.address == "unix:///run/user/7/docker.sock"
    assert endpoint.said_by == "docker context 'rootless'"
    assert endpoint.tls == tmp_path / ".docker/contexts/tls" / digest / "docker"


def test_docker_config_names_another_folder(tmp_path):
    write_context(tmp_path, "x", context("unix:///there.sock"))
    env = {"DOCKER_CONFIG": str(tmp_path / ".docker"), "DOCKER_CONTEXT": "x"}
    assert addresses(docker_endpoints(env, tmp_path / "elsewhere")) == ["unix:///there.sock"]


def test_the_context_default_means_the_usual_sockets(tmp_path):
    assert len(docker_endpoints({"DOCKER_CONTEXT": "default"}, tmp_path)) == 2


def test_a_context_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(EngineError, match="DOCKER_CONTEXT: there is no docker context 'lab'.*docker context ls"):
        docker_endpoints({"DOCKER_CONTEXT": "lab"}, tmp_path)


@pytest.mark.parametrize(
    ("meta", "part"),
    [
        ("{", "cannot be read"),
        ("[]", "is no JSON object"),
        ({"Endpoints": {}}, "no Endpoints.docker.Host"),
        ({"Endpoints": []}, "no Endpoints.docker.Host"),
        (context(7), "no Endpoints.docker.Host"),
        (context("npipe:////./pipe/docker"), "found 'npipe:"),
    ],
)
def test_a_context_that_cannot_be_used_says_why_and_where(tmp_path, meta, part):
    write_context(tmp_path, "lab", meta)
    with pytest.raises(EngineError) as caught:
        docker_endpoints({"DOCKER_CONTEXT": "lab"}, tmp_path)
    assert part in str(caught.value)
    assert "lab" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "7", '{"currentContext": 7}'])
def test_a_broken_configuration_of_docker_is_named(tmp_path, text):
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    with pytest.raises(EngineError, match="config.json"):
        docker_endpoints({}, tmp_path)


def test_a_configuration_without_a_context_is_no_error(tmp_path):
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"auths": {}}')
    assert addresses(docker_endpoints({}, tmp_path))[0] == "unix:///var/run/docker.sock"


@given(text=st.text() | st.dictionaries(st.text(), st.integers() | st.text() | st.none()).map(json.dumps))
def test_any_meta_json_gives_an_endpoint_or_an_error_that_names_it(tmp_path_factory, text):
    home = tmp_path_factory.mktemp("home")
    write_context(home, "any", text)
    try:
        assert docker_endpoints({"DOCKER_CONTEXT": "any"}, home)
    except EngineError as error:
        assert "any" in str(error) or "meta.json" in str(error)


@pytest.mark.parametrize("said", ["docker.sock", "unix://relative", "fd://", "unix://", "://"])
def test_an_address_of_no_known_form_is_refused_with_an_example(tmp_path, said):
    with pytest.raises(EngineError, match="DOCKER_HOST: found .*unix:///var/run/docker.sock"):
        docker_endpoints({"DOCKER_HOST": said}, tmp_path)


def test_a_bare_path_is_a_socket(tmp_path):
    assert addresses(docker_endpoints({"DOCKER_HOST": "/x.sock"}, tmp_path)) == ["unix:///x.sock"]


def test_podman_is_looked_for_at_the_users_socket_and_then_the_systems():
    assert addresses(podman_endpoints({"XDG_RUNTIME_DIR": "/run/user/7"}, 7)) == [
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
    ]
    assert addresses(podman_endpoints({}, 0)) == ["unix:///run/podman/podman.sock"]
    (named,) = podman_endpoints({"CONTAINER_HOST": "unix:///p.sock"}, 7)
    assert (named.address, named.said_by) == ("unix:///p.sock", "CONTAINER_HOST")

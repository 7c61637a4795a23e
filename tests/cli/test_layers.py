"""The shorthands of the command line and the files behind the layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.layers import site_layer, user_layers
from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.errors import ContextError


def layers(**options):
    return {layer.name: layer.values for layer in user_layers(make_request(RunOptions(tags=["one"], **options)))}


def test_each_shorthand_is_a_layer_above_the_inline_context():
    options = {"env": ["A=1"], "mount": ["/on:/in"], "arg": ["--x 1"], "timeout": "5s"}
    found = layers(additional_context="{'docker_env_vars': {'A': '0'}}", **options)
    assert list(found) == ["--additional-context", "--env", "--mount", "--arg", "--timeout"]
    assert found["--env"] == {"docker_env_vars": {"A": "1"}}
    assert found["--mount"] == {"docker_mounts": {"/in": "/on"}}
    assert found["--arg"] == {"more_args": ["--x 1"]}


@pytest.mark.parametrize(
    ("word", "name", "value"), [("A=1", "A", "1"), ("A=", "A", ""), ("A=b=c", "A", "b=c"), ("A= x ", "A", " x ")]
)
def test_a_variable_takes_everything_after_the_first_sign(word, name, value):
    assert layers(env=[word])["--env"] == {"docker_env_vars": {name: value}}


def test_a_variable_by_name_alone_has_this_hosts_value(monkeypatch):
    monkeypatch.setenv("MINE", "here")
    assert layers(env=["MINE"])["--env"] == {"docker_env_vars": {"MINE": "here"}}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set on this host; set it, or give its value"),
        ("=secret", "found the name '', allowed: NAME=VALUE"),
        ("", "found the name ''"),
    ],
)
def test_a_wrong_variable_says_what_is_allowed_and_shows_no_value(word, text):
    with pytest.raises(ContextError, match=text) as caught:
        layers(env=[word])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "target", "source"),
    [("/on:/in", "/in", "/on"), ("/on:/in:ro", "/in", "/on:ro"), ("/on:/in:rw", "/in", "/on:rw")],
)
def test_a_mount_is_the_hosts_path_and_the_containers(word, target, source):
    assert layers(mount=[word])["--mount"] == {"docker_mounts": {target: source}}


def test_a_relative_path_of_the_host_counts_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    values = layers(mount=["data:/in", "~/x:/y"])["--mount"]["docker_mounts"]
    assert values == {"/in": f"{tmp_path}/data", "/y": "/home/me/x"}


@pytest.mark.parametrize("word", ["/on", "/on:", ":/in", "/on:in", "/on:/in:rx", "/a:/b:ro:ro", "", ":"])
def test_a_wrong_mount_says_what_is_allowed(word):
    with pytest.raises(ContextError, match="--mount: found .*allowed: HOST:CONTAINER or HOST:CONTAINER:ro"):
        layers(mount=[word])


@given(st.text(max_size=20))
def test_every_mount_is_taken_or_refused_in_words(word):
    try:
        found = layers(mount=[word])["--mount"]["docker_mounts"]
    except ContextError as error:
        assert "--mount" in str(error)
    else:
        ((target, source),) = found.items()
        assert target.startswith("/")
        assert source.startswith("/")


@pytest.fixture
def site(tmp_path):
    def read(text, name="site.yaml"):
        file = tmp_path / name
        file.write_text(text)
        (layer,) = site_layer(make_request(RunOptions(tags=["one"], site=str(file))), tmp_path)
        return layer.values

    return read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.yaml", "grace: 7\n"),
        ("s.yml", "{grace: 7}"),
        ("s.json", '{"grace": 7}'),
        ("s.txt", "{'grace': 7}"),
        ("site", "{'grace': 7}"),
    ],
)
def test_a_site_file_may_be_yaml_json_or_a_python_literal(site, name, text):
    assert site(text, name) == {"grace": 7}


@pytest.mark.parametrize(
    ("launch", "said", "known"),
    [
        ("ssh:x", '{"--site": "site file /repo/madrun-site.yaml"}', "site file /repo/madrun-site.yaml"),
        ("ssh:x", '{"--site": 1}', "--site FILE"),
        ("ssh:x", "[", "--site FILE"),
        ("ssh:x", "[]", "--site FILE"),
        ("", '{"--site": "site file /repo/madrun-site.yaml"}', "--site FILE"),
    ],
)
def test_a_file_that_a_launch_brought_is_known_by_its_name_there(tmp_path, monkeypatch, launch, said, known):
    file = tmp_path / "site.yaml"
    file.write_text("grace: 7\n")
    monkeypatch.setenv("MADRUN_LAUNCH", launch)
    monkeypatch.setenv("MADRUN_LAYERS", said)
    (layer,) = site_layer(make_request(RunOptions(tags=["one"], site=str(file))), tmp_path)
    assert (layer.name, layer.values) == (known.replace("FILE", str(file)), {"grace": 7})


def test_an_empty_site_file_says_nothing(site):
    assert site("# later\n") == {}


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("s.yaml", "- a\n", "found list, allowed: a map"),
        ("s.yaml", "a: [\n", "s.yaml"),
        ("s.yaml", "a: 1\na: 2\n", "s.yaml:2"),
        ("s.json", "[1]", "found list, allowed: a map"),
        ("s.json", "{", "neither JSON nor a Python literal"),
    ],
)
def test_a_wrong_site_file_is_named(site, name, text, part):
    with pytest.raises(ContextError, match="--site") as caught:
        site(text, name)
    assert part in str(caught.value)


def test_a_directory_in_place_of_the_site_file_is_an_error(tmp_path):
    with pytest.raises(ContextError, match="does not exist or is not a file"):
        site_layer(make_request(RunOptions(tags=["one"], site=str(tmp_path))), tmp_path)


def test_the_repositorys_site_file_goes_before_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    request = make_request(RunOptions(tags=["one"]))
    assert site_layer(request, tmp_path) == []
    own = tmp_path / "config" / "madrun" / "site.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("grace: 1\n")
    assert [layer.values for layer in site_layer(request, tmp_path)] == [{"grace": 1}]
    (tmp_path / "madrun-site.yaml").write_text("grace: 2\n")
    assert [layer.values for layer in site_layer(request, tmp_path)] == [{"grace": 2}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"env": ["A=1", "A=2"]}, "--env: found A twice, with different values"),
        ({"mount": ["/tmp:/mnt", "/usr:/mnt"]}, "--mount: found /mnt twice, with different values"),
    ],
)
def test_one_name_with_two_values_is_refused(words, text):
    with pytest.raises(ContextError, match=text):
        layers(**words)


def test_the_same_word_twice_is_said_twice_and_no_more():
    assert layers(env=["A=1", "A=1"])["--env"] == {"docker_env_vars": {"A": "1"}}

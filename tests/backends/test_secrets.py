"""Secrets in a launch: wherever one is typed, no file that is rendered and no line that is printed shows it."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from forms import FORMS, start, words_of

from madrun.cli.app import run
from madrun.spec.launch import PRIVATE

CARD = """name: one
script: run.sh
env: {CARD_TOKEN: hush-of-card}
images: {cpu: {image: example/one:1}}
"""
SITE = """registry: registry.example/team
docker_env_vars: {SITE_TOKEN: hush-of-site, OVERRIDDEN_KEY: hush-below, REGISTRY_PASSWORD: 8191235}
docker_build_arg: {SITE_ARG_TOKEN: hush-of-site-arg}
"""
FILE = {"docker_env_vars": {"FILE_TOKEN": "hush-of-file", "URL": "https://me:hush-of-file@example"}}
INLINE = "{'docker_env_vars': {'INLINE_TOKEN': 'hush-of-inline', 'OVERRIDDEN_KEY': 'hush-above'}, " + (
    "'docker_build_arg': {'ARG_TOKEN': 'hush-of-arg'}}"
)
WORDS = [
    *("--tags", "one", "--runtime", "process", "-f", "context.json", "-c", INLINE),
    *("--env", "ENV_TOKEN=hush-of-env", "--env", "HERE_TOKEN", "--env", "PLAIN=plain"),
    *("--set", "docker_env_vars.SET_TOKEN=hush-of-set", "--set", "docker_env_vars={MAP_KEY: hush-of-map, A: b}"),
    *("--arg", "--token=hush-of-here", "--arg", "--plain"),
]
VALUES = {
    "SITE_TOKEN": "hush-of-site",
    "OVERRIDDEN_KEY": "hush-above",
    "REGISTRY_PASSWORD": "8191235",
    "FILE_TOKEN": "hush-of-file",
    "URL": "https://me:hush-of-file@example",
    "INLINE_TOKEN": "hush-of-inline",
    "ENV_TOKEN": "hush-of-env",
    "HERE_TOKEN": "hush-of-here",
    "MAD_SECRETS_A": "hush-of-mad",
    "SET_TOKEN": "hush-of-set",
    "MAP_KEY": "hush-of-map",
    "CARD_TOKEN": "hush-of-card",
    "PLAIN": "plain",
}
ARGUMENTS = {"SITE_ARG_TOKEN": "hush-of-site-arg", "ARG_TOKEN": "hush-of-arg"}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository, a site file and a context's file with secrets; the current directory, and a bare environment."""
    home = tmp_path / "repo"
    (home / "models/one").mkdir(parents=True)
    (home / "models/one/run.sh").write_text("echo performance: 5 tok\n")
    (home / "models/one/model.yaml").write_text(CARD)
    (home / "madrun-site.yaml").write_text(SITE)
    (home / "context.json").write_text(json.dumps(FILE))
    for name in list(os.environ):
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HERE_TOKEN", "hush-of-here")
    monkeypatch.setenv("MAD_SECRETS_A", "hush-of-mad")
    monkeypatch.chdir(home)
    return home


def is_shown(text):
    return "hush" in text or "8191235" in text


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_secrets_stand_in_the_private_file_alone_and_reach_the_script_of_every_node(
    repository, tmp_path, capfd, monkeypatch, form
):
    folder = tmp_path / "launch"
    words = [*WORDS, *words_of(form, repository)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/none/python")  # nodes take the madrun on their PATH
        assert run(["render", *words, "--to", str(folder)]) == 0
        if form not in ("compose", "skypilot"):
            assert run(["run", *words, "--dry-run"]) == 0
    printed = capfd.readouterr()
    assert "node.sh" in printed.out and PRIVATE in printed.out
    assert not is_shown(printed.out + printed.err)
    holders = [path for path in folder.rglob("*") if path.is_file() and is_shown(path.read_text(errors="replace"))]
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in holders] == [(PRIVATE, 0o600)]
    private = (folder / PRIVATE).read_text()
    assert all(value in private for value in (VALUES | ARGUMENTS).values() if value not in ("plain", "hush-of-card"))

    for record in start(form, folder, repository, tmp_path / "engine"):
        assert not is_shown(json.dumps(record["words"])), "on a command line, which ps shows"
        shown = {name for name, value in record["env"].items() if is_shown(value)}
        assert shown == {
            line.removeprefix("export ").partition("=")[0] for line in private.splitlines() if is_shown(line)
        }
        for name, value in record["env"].items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(record["cwd"])
        monkeypatch.setenv("HOME", str(tmp_path))
        seen = resolved(record["words"])
        assert {name: seen.docker_env_vars[name] for name in VALUES if name not in ("MAD_SECRETS_A",)} == {
            name: value for name, value in VALUES.items() if name != "MAD_SECRETS_A"
        }
        assert seen.docker_build_arg == ARGUMENTS
        assert seen.more_args == ("--token=hush-of-here", "--plain")


def resolved(words):
    """The context of a node's command."""
    from madrun.cli.layers import site_layer, user_layers
    from madrun.cli.options import RunOptions
    from madrun.cli.request import make_request
    from madrun.planning.layers import card_layer, resolve
    from madrun.registry.catalogue import load

    many = {"--env": "env", "--set": "set_key", "--arg": "arg"}
    one = {"--site": "site", "--additional-context": "additional_context"}
    one |= {"--additional-context-file": "additional_context_file"}
    pairs = list(zip(words, words[1:], strict=False))
    given = {field: next(value for word, value in pairs if word == flag) for flag, field in one.items()}
    given |= {field: [value for word, value in pairs if word == flag] for flag, field in many.items()}
    request = make_request(RunOptions(tags=["one"], **given))
    (card,) = load(Path.cwd()).cards
    return resolve([*site_layer(request, Path.cwd()), card_layer(card), *user_layers(request)])[0]

"""An option that takes one value and is typed twice is no guess."""

import pytest
import typer

from madrun.cli.app import app, run
from madrun.errors import UsageError


def commands(command, words=()):
    inner = getattr(command, "commands", {})
    if not inner or words:
        yield words, command
    for word, further in inner.items():
        yield from commands(further, (*words, word))


ALL = typer.main.get_command(app)
SINGLE = [
    (words, flag)
    for words, command in commands(ALL)
    for option in command.params
    if option.param_type_name == "option" and not (option.is_flag or option.multiple)
    for flag in option.opts
]


def test_every_option_of_one_value_is_refused_where_it_is_given_twice():
    assert len(SINGLE) > 80
    for words, flag in SINGLE:
        with pytest.raises(UsageError, match=f"{flag}.*: found twice with different values"):
            ALL.main([*words, flag, "1", flag, "2"], standalone_mode=False)


def test_two_spellings_of_an_option_are_one_option(capsys):
    assert run(["plan", "--tags", "a", "-c", "{}", "--additional-context={'a': 1}"]) == 2
    assert "--additional-context/-c: found twice" in capsys.readouterr().err


def test_a_value_that_may_be_secret_is_not_told(capsys):
    run(["plan", "--tags", "a", "-c", "{'docker_env_vars': {'HF_TOKEN': 'hf_secret'}}", "-c", "{}"])
    assert "hf_secret" not in capsys.readouterr().err


def test_one_value_twice_is_no_error(tmp_path, capsys):
    (tmp_path / "models.json").write_text("[]")
    run(["list", "--repo", str(tmp_path), "--repo", str(tmp_path)])
    assert "twice" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--tags", "a", "--tags", "b"], ["--env", "A=1", "--env", "B=2"], ["-q", "-q"]])
def test_flags_and_repeatable_options_stay_as_they_were(words, tmp_path, capsys):
    run(["run", "--repo", str(tmp_path), *words])
    assert "twice" not in capsys.readouterr().err


def test_the_command_that_is_asked_for_is_alone_the_same_as_among_all():
    for name, among_all in ALL.commands.items():
        alone = typer.main.get_command(app.asked([name, "--help"]))
        if name == "report":
            assert sorted(alone.commands) == sorted(ALL.commands)
            continue
        assert list(alone.commands) == [name]
        assert [one.opts for one in alone.params] == [one.opts for one in ALL.params]
        shown = [(one.opts, one.help, one.default) for one in among_all.params if one.param_type_name == "option"]
        found = [one for one in alone.commands[name].params if one.param_type_name == "option"]
        assert [(one.opts, one.help, one.default) for one in found] == shown


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["runn"], ["report", "csv"]])
def test_where_no_command_of_one_word_is_asked_for_all_are_known(words):
    assert app.asked(words) is app

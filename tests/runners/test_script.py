"""The runner of scripts that start their processes themselves."""

from madrun.runners import RUNNERS


def test_it_adds_no_word_and_no_variable(make_topology):
    runner = RUNNERS["script"]
    assert (runner.command(make_topology()), runner.env(make_topology()), runner.starter) == ("", {}, "")

"""The runner of scripts that start their processes themselves."""

from madrun.runners import RUNNERS
from madrun.spec.topology import Starting


def test_it_adds_no_word_and_no_variable(make_topology):
    runner, starting = RUNNERS["script"], Starting(box="/madrun")
    words = runner.command(make_topology(), starting)
    assert (words, runner.env(make_topology(), starting), runner.settings(make_topology(), starting)) == ("", {}, {})
    assert runner.starter == ""

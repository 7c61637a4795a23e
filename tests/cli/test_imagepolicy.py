"""Which registry images are pushed to and pulled from."""

import pytest

from madrun.cli.imagepolicy import policy_of
from madrun.cli.madoptions import RepositoryOptions
from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.errors import UsageError
from madrun.spec.context import Layer

SITE = Layer("site file /r/madrun-site.yaml", {"registry": "site:5000/team"})


def policy(folder, *layers, typed=None):
    request = make_request(RunOptions(tags=["x"]), repository=RepositoryOptions(registry=typed))
    return policy_of(request, folder, layers)


def test_a_site_file_names_the_registry_that_nobody_has_to_type(tmp_path):
    assert policy(tmp_path).registry == ""
    assert policy(tmp_path, SITE).registry == "site:5000/team"
    assert policy(tmp_path, SITE, Layer("--set", {"registry": "mine:5000"})).registry == "mine:5000"
    assert policy(tmp_path, SITE, Layer("--set", {"registry": None})).registry == ""
    assert policy(tmp_path, SITE, typed="typed:5000").registry == "typed:5000"


def test_a_wrong_registry_is_told_with_the_layer_that_names_it(tmp_path):
    with pytest.raises(UsageError, match="site file /r/madrun-site.yaml: registry: found 'http://x'"):
        policy(tmp_path, Layer(SITE.name, {"registry": "http://x"}))

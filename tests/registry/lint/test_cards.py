"""What a card names is there, its numbers agree, its arguments are its own."""

import pytest

from madrun.registry.catalogue import load

HITS = [
    ("no-script", {"scripts": "scripts/a/gone.sh"}),
    ("no-script", {"scripts": "scripts/gone"}),
    ("no-dockerfile", {"dockerfile": "docker/gone"}),
    ("no-dockerfile", {"dockerfile": "docker/a.ubuntu.amd.Dockerfile"}),
    ("no-context-folder", {"dockercontext": "./gone"}),
    ("no-data", {"data": "gone"}),
    ("no-data", {"data": "known, gone"}),
    ("no-credential", {"cred": "GONE"}),
    ("never-written", {"multiple_results": "perf_other.csv"}),
    ("placeholder", {"args": "--model <model name>"}),
    ("placeholder", {"args": "--data /path/to/data"}),
    ("placeholder", {"url": "https://github.com/your-org/x"}),
    ("placeholder", {"distributed": {"primus": {"config_path": "TODO"}}}),
    ("node-counts", {"nnodes": 2, "slurm": {"nodes": 4}}),
    ("node-counts", {"distributed": {"nnodes": "2"}, "slurm": {"nodes": 1}}),
    ("gpu-counts", {"n_gpus": "8", "distributed": {"nproc_per_node": 4}}),
    ("gpu-counts", {"n_gpus": 8, "slurm": {"gpus_per_node": "4"}}),
    ("gpu-number", {"n_gpus": "eight"}),
    ("gpu-number", {"n_gpus": "0"}),
    ("unknown-field", {"argz": "--x"}),
    ("no-time-limit", {"timeout": -1}),
]
MISSES = [
    ("no-script", {"scripts": "scripts/a"}),
    ("no-dockerfile", {"dockerfile": "docker/a.ubuntu"}),
    ("no-context-folder", {"dockercontext": "./docker"}),
    ("no-data", {"data": "known"}),
    ("no-data", {"data": ""}),
    ("no-credential", {"cred": "KNOWN"}),
    ("never-written", {"multiple_results": "perf_a.csv"}),
    ("never-written", {"multiple_results": "perf_made.csv"}),
    ("never-written", {"multiple_results": "other.csv", "args": "--out other.csv"}),
    ("never-written", {"multiple_results": "other.csv", "url": "https://x/y"}),
    ("placeholder", {"args": "--model a<b --todo-list 1 --yourself"}),
    ("placeholder", {"owner": "your-name@example.com"}),
    ("node-counts", {"nnodes": 2, "slurm": {"nodes": "2"}, "distributed": {"nnodes": 2}}),
    ("gpu-counts", {"n_gpus": "-1", "distributed": {"nproc_per_node": 4}}),
    ("gpu-number", {"n_gpus": " 8 "}),
    ("no-time-limit", {"timeout": 0}),
]


@pytest.fixture
def filled(checkout):
    checkout.write("data.json", '{"known": {}}')
    checkout.write("credential.json", '{"KNOWN": {}}')
    checkout.write("scripts/a/run.sh", 'tput=3\necho "a,$tput,tok" > ../perf_a.csv\ncp x "perf_${NAME}.csv"\n')
    return checkout


@pytest.mark.parametrize(("rule", "card"), HITS)
def test_a_rule_finds_what_it_is_for(filled, rule, card):
    filled.cards(card)
    filled.write("scripts/a/run.sh", "echo a,1 > ../perf_a.csv\n")
    assert rule in filled.rules()


@pytest.mark.parametrize(("rule", "card"), MISSES)
def test_a_rule_leaves_alone_what_only_looks_like_it(filled, rule, card):
    filled.cards(card)
    assert rule not in filled.rules()


def test_a_finding_names_the_line_of_the_key_and_the_card(checkout):
    checkout.cards({}, {"name": "b", "data": "gone"})
    (found,) = checkout.inspect().findings
    line = (checkout.folder / "models.json").read_text().split("\n").index('  "data": "gone"') + 1
    assert (found.rule, found.file, found.line, found.cards) == ("no-data", "models.json", line, ("b",))
    assert "there is no data.json" in found.found


def test_arguments_that_name_another_card_of_the_script_are_found(checkout):
    own = {"args": "--model a"}
    checkout.cards(own, {"name": "b", "args": "--model a"})
    assert checkout.rules() == ["foreign-model"]
    checkout.cards(own, {"name": "b", "args": "--model b"})
    assert checkout.rules() == []


def test_a_word_that_is_also_a_card_of_another_script_is_no_finding(checkout):
    checkout.write("scripts/b/run.sh", 'echo "$1"\n')
    checkout.cards({"args": "--task train"}, {"name": "train", "scripts": "scripts/b/run.sh", "args": "--model train"})
    assert checkout.rules() == []


def test_native_cards_are_examined_as_far_as_rules_apply(checkout):
    checkout.write("models/n/model.yaml", "name: n\nscript: run.sh\nargs: --data /path/to/x\n")
    checkout.write("models/n/run.sh", "python3 -m train | tee log\n")
    assert checkout.found() == [("placeholder", "models/n/model.yaml:1"), ("masked-pipe", "models/n/run.sh:1")]


def test_the_fixture_itself_is_clean(checkout):
    assert checkout.found() == []
    assert len(load(checkout.folder).cards) == 1

"""The repository that a command means, and its cards."""

import pytest

from madrun.errors import UsageError
from madrun.registry.catalogue import load, locate, shipped_places

ENTRY = '{"name": "%s", "dockerfile": "docker/x", "scripts": "run.sh", "n_gpus": "1", "args": ""}'


def test_cards_are_sorted_by_name(write_card, repository):
    write_card("b", "variants: {a_tiny: {}}\n")
    write_card("a")
    assert [card.name for card in load(repository).cards] == ["a", "a_tiny", "b"]


def test_a_broken_card_does_not_hide_the_others(write_card, repository):
    write_card("a", "argz: x\n")
    write_card("b")
    catalogue = load(repository)
    assert [card.name for card in catalogue.cards] == ["b"]
    assert "argz" in str(catalogue.broken[0])


def test_two_cards_of_one_name_are_an_error_that_names_both(write_card, repository):
    first = write_card("a")
    second = write_card("b", "variants: {a: {}}\n")
    catalogue = load(repository)
    assert str(catalogue.broken[0]).startswith(f"{second}:3: name: 'a' is taken by {first}:1")


def test_the_given_repository_counts_before_the_current_directory(write_card, repository, tmp_path):
    write_card()
    assert locate(str(repository), tmp_path) == repository
    assert locate(None, repository) == repository


def test_a_given_repository_without_cards_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--repo: .*none is not a directory"):
        locate(str(tmp_path / "none"), tmp_path)
    with pytest.raises(UsageError, match=r"--repo: .*holds no cards \(models/\*/model.yaml nor models.json\)$"):
        locate(str(tmp_path), tmp_path)


def test_without_cards_here_those_installed_with_madrun_are_meant(tmp_path, monkeypatch, write_card, repository):
    write_card()
    monkeypatch.setattr("madrun.registry.catalogue.shipped_places", lambda: (tmp_path / "none", repository))
    assert locate(None, tmp_path) == repository


def test_no_cards_anywhere_is_an_error_that_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setattr("madrun.registry.catalogue.shipped_places", lambda: (tmp_path,))
    with pytest.raises(UsageError, match="name a repository with --repo DIR"):
        locate(None, tmp_path)


def test_the_cards_of_the_project_lie_in_the_package_or_beside_it():
    package, checkout = shipped_places()
    assert package.name == "shipped"
    assert (checkout / "madrun" / "__init__.py").is_file()


def test_the_order_is_the_flag_then_model_dir_then_the_current_directory(write_card, repository, tmp_path):
    write_card()
    other = tmp_path / "other"
    other.mkdir()
    (other / "models.json").write_text("[]")
    assert locate(None, repository, str(other)) == other
    assert locate(str(repository), tmp_path, str(other)) == repository
    assert locate(None, other) == other


def test_a_model_dir_without_cards_is_refused_by_its_own_name(tmp_path, write_card, repository):
    write_card()
    with pytest.raises(UsageError, match=r"MODEL_DIR: .*none is not a directory"):
        locate(None, repository, str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"MODEL_DIR: .* holds no cards"):
        locate(None, repository, str(tmp_path))


def test_nested_cards_without_the_roots_file_are_told_what_is_missing(tmp_path):
    (tmp_path / "scripts/a").mkdir(parents=True)
    (tmp_path / "scripts/a/models.json").write_text("[]")
    with pytest.raises(UsageError, match=r"has a models.json in its root: write \[\] there"):
        locate(str(tmp_path), tmp_path)


def test_a_folder_with_both_kinds_has_both(write_card, repository):
    write_card("native")
    (repository / "models.json").write_text(f"[{ENTRY % 'foreign'}]")
    assert [(card.name, card.mad is not None) for card in load(repository).cards] == [
        ("foreign", True),
        ("native", False),
    ]


def test_a_name_that_stands_twice_is_an_error_that_says_where_it_stood_first(write_card, repository):
    first = write_card("one")
    (repository / "models.json").write_text(f"[{ENTRY % 'one'}, {ENTRY % 'two'}, {ENTRY % 'two'}]")
    (repository / "scripts/a").mkdir(parents=True)
    catalogue = load(repository)
    file = repository / "models.json"
    assert [str(error) for error in catalogue.broken] == [
        f"{file}: name: 'one' is taken by {first}:1",
        f"{file}: name: 'two' is taken by {file}",
    ]
    assert [card.name for card in catalogue.cards] == ["one", "two"]

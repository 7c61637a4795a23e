"""The repository that a command means, and its cards."""

import pytest

from madrun.errors import UsageError
from madrun.registry.catalogue import load, locate, shipped_places


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
    with pytest.raises(UsageError, match=r"--repo: .*holds no cards \(models/\*/model.yaml\)"):
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

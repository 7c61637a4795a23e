"""The tag grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import UsageError
from madrun.registry.tags import select, split_tags
from madrun.spec.card import Card
from madrun.spec.mad import MadCard


def card(name, *tags, folder="/r/models/f", args=""):
    return Card(name=name, folder=folder, repository="/r", source="s", script="run.sh", tags=tags, args=args)


CARDS = (
    card("llama2_7b", "llm", "training", folder="/r/models/llama2_7b", args="--preset 7b"),
    card("llama2_7b_tiny", "llm", "smoke", folder="/r/models/llama2_7b"),
    card("sanity", "smoke", folder="/r/models/sanity"),
)


def names(*tags):
    return [card.name for card in select(CARDS, tags)]


@pytest.mark.parametrize("values", [["a", "b", "c"], ["a,b,c"], ["a", "b,c"], [" a , b", "c", "a"], ["a,,b", "c,"]])
def test_every_way_to_write_several_tags_means_the_same(values):
    assert split_tags(values) == ["a", "b", "c"]


def test_a_tag_is_a_name_or_a_tag_or_all():
    assert names("sanity") == ["sanity"]
    assert names("llm") == ["llama2_7b", "llama2_7b_tiny"]
    assert names("all") == [card.name for card in CARDS]


def test_several_tags_are_a_union_in_order_with_each_card_once():
    assert names("sanity", "smoke", "llama2_7b") == ["sanity", "llama2_7b_tiny", "llama2_7b"]


def test_a_folder_narrows_the_choice():
    assert names("llama2_7b/smoke") == ["llama2_7b_tiny"]
    assert names("llama2_7b/all") == ["llama2_7b", "llama2_7b_tiny"]
    with pytest.raises(UsageError, match="sanity/llm"):
        names("sanity/llm")


def test_arguments_after_colons_are_added_to_the_args():
    (chosen,) = select(CARDS, ["llama2_7b:batch_size=512:flag"])
    assert chosen.args == "--preset 7b --batch_size 512 --flag"


def test_one_card_with_two_sets_of_arguments_is_two_runs():
    assert [card.args for card in select(CARDS, ["sanity", "sanity:x=1"])] == ["", " --x 1"]


def test_a_tag_without_a_match_is_an_error_that_lists_the_nearest_names():
    with pytest.raises(UsageError, match="no card or tag 'lama2_7b'; nearest: llama2_7b"):
        names("sanity", "lama2_7b")


def test_a_part_of_a_name_is_near_it_and_hundreds_of_names_are_counted():
    many = tuple(card(f"pyt_model_{number:03}", "pyt") for number in range(300))
    with pytest.raises(UsageError, match="nearest: pyt_model_142 "):
        select(many, ["142"])
    with pytest.raises(UsageError, match="known: pyt, pyt_model_000, "):
        select(many, ["m"])
    with pytest.raises(UsageError, match="known: pyt, pyt_model_000, .*pyt_model_018 and 281 more"):
        select(many, ["zzzzzzzzz"])


def test_where_nothing_is_near_the_known_words_are_listed():
    known = r"known: llm, smoke, training, llama2_7b, llama2_7b_tiny, sanity \(of /r; madrun list"
    with pytest.raises(UsageError, match=known):
        names("zzzzzzzzz")


@pytest.mark.parametrize("tag", ["../x", "a/../b", "a;rm", "a b", "$(id)", "a//b", "", "-x", "/a", "a\n"])
def test_a_tag_with_path_or_shell_characters_is_refused_with_the_grammar(tag):
    with pytest.raises(UsageError, match="allowed: a card's name, a tag"):
        names(tag)


@pytest.mark.parametrize("argument", ["x=$(id)", "x=a b", "", "=1", "a;b", "x=1'"])
def test_an_argument_with_shell_characters_is_refused(argument):
    with pytest.raises(UsageError, match="without shell characters"):
        names(f"sanity:{argument}")


@given(st.text(max_size=30))
def test_any_text_selects_or_is_a_usage_error_and_adds_no_shell_characters(text):
    try:
        chosen = select(CARDS, split_tags([text]))
    except UsageError as error:
        assert str(error).startswith("--tags: ")
        return
    for card in chosen:
        assert not set(card.args) & set("$`;|&<>()'\"\\\n*?[]{}!#~")


def mad(name, *tags, args=""):
    short = name.rpartition("/")[2]
    more = MadCard(short=short, dockerfile="d")
    return Card(name=name, folder="/r", repository="/r", source="s", script="run.sh", tags=tags, args=args, mad=more)


ZOO = (
    mad("bert", "nlp", "dir/odd"),
    mad("dummy2", "dummies"),
    mad("dummy2/dummy_2", "dummies", "nested"),
    mad("jax/deep/gpt", "nlp", "inference server"),
    mad("jax/gpt", "nlp"),
)


@pytest.mark.parametrize(
    ("tags", "selected"),
    [
        (["bert"], ["bert"]),
        (["jax/gpt"], ["jax/gpt"]),
        (["gpt"], ["jax/deep/gpt", "jax/gpt"]),  # the short name finds it in every folder
        (["dummy_2"], ["dummy2/dummy_2"]),
        (["nlp"], ["bert", "jax/deep/gpt", "jax/gpt"]),
        (["all"], [card.name for card in ZOO]),
        (["jax/all"], ["jax/deep/gpt", "jax/gpt"]),
        (["jax/nlp"], ["jax/deep/gpt", "jax/gpt"]),
        (["jax/deep/nlp"], ["jax/deep/gpt"]),
        (["dummy2"], ["dummy2"]),
        (["dummy2/nested"], ["dummy2/dummy_2"]),
        (["dir/odd"], ["bert"]),  # a tag that is written with its folder, as older tooling makes them
        (["inference server"], ["jax/deep/gpt"]),
        (["nested", "nlp", "bert"], ["dummy2/dummy_2", "bert", "jax/deep/gpt", "jax/gpt"]),
    ],
)
def test_a_tag_of_a_mad_repository_is_a_name_a_short_name_a_tag_or_all_and_a_folder_narrows(tags, selected):
    assert [card.name for card in select(ZOO, tags)] == selected


@pytest.mark.parametrize("tag", ["jax/dummies", "deep/gpt", "nothing/all", "jax/bert"])
def test_a_folder_narrows_to_what_is_in_it(tag):
    with pytest.raises(UsageError, match="no card or tag"):
        select(ZOO, [tag])


@pytest.mark.parametrize(
    ("tag", "args"),
    [
        ("bert:batch_size=512:in=32", " --batch_size 512 --in 32"),
        ("bert:flag", " --flag"),
        ("jax/gpt:x=1", " --x 1"),
        ("jax/nlp:x=1", " --x 1"),  # a folder's tag with arguments, which older tooling could not
        ("bert:a=b=c", " --a b c"),
        ("bert:text='a b';n=$N", " --text 'a b';n $N"),
        ("bert:name=ü", " --name ü"),
    ],
)
def test_arguments_of_a_mad_card_go_to_the_shell_in_the_container_as_they_are_written(tag, args):
    assert {card.args for card in select(ZOO, [tag])} == {args}


@pytest.mark.parametrize("argument", ["", " ", "=1", "--flag", "a\nb", "a\0b"])
def test_an_argument_that_means_nothing_is_refused(argument):
    with pytest.raises(UsageError, match="allowed: key=value or flag, as the script takes them"):
        select(ZOO, [f"bert:{argument}"])


@pytest.mark.parametrize(
    ("tag", "write"),
    [
        ("jax", "write jax/all "),
        ("jax:nlp", "write jax/nlp "),
        ("jax:nlp:x=1:y", "write jax/nlp:x=1:y "),
        ("jax:x=1", "write jax/all:x=1 "),
        ("jax/deep", "write jax/deep/all "),
    ],
)
def test_a_folder_where_a_card_is_expected_is_told_with_what_to_write(tag, write):
    with pytest.raises(UsageError, match="is a folder of cards") as caught:
        select(ZOO, [tag])
    assert write in str(caught.value)


def test_a_name_before_a_colon_is_the_card_also_where_a_folder_has_that_name():
    (chosen,) = select(ZOO, ["dummy2:dummy_2"])
    assert (chosen.name, chosen.args) == ("dummy2", " --dummy_2")


@given(st.text(max_size=30))
def test_any_text_selects_cards_of_a_mad_repository_or_is_a_usage_error(text):
    try:
        chosen = select(ZOO, split_tags([text]))
    except UsageError as error:
        assert str(error).startswith("--tags: ")
        return
    assert all(card.args.isprintable() for card in chosen)

"""What the option parser cannot say: `--tags a b c`, as existing users type it."""

from __future__ import annotations

TAGS = ("--tags", "-t")
CONTEXT_FLAGS = ("--additional-context", "-c")
_TAKES_ANY_TEXT = ("--arg", "-a", "--env", "-e", "--mount")


def inline_context(words: list[str]) -> tuple[int, str] | None:
    """Where the inline context that counts stands: index of its word, and what comes before its text there.

    The forms are `-c TEXT`, `-cTEXT` and the two of the long name; the last one counts.
    """
    found: tuple[int, str] | None = None
    index = 0
    while index < len(words):
        word = words[index]
        if word in _TAKES_ANY_TEXT:
            index += 1  # its value may look like a flag
        elif word in CONTEXT_FLAGS:
            index += 1  # the next word is the text, whatever it looks like
            found = (index, "")
        elif word.startswith(f"{CONTEXT_FLAGS[0]}="):
            found = (index, f"{CONTEXT_FLAGS[0]}=")
        elif _is_attached(word, CONTEXT_FLAGS[1]):
            found = (index, CONTEXT_FLAGS[1])
        index += 1
    return found


def _is_attached(word: str, flag: str) -> bool:
    """Whether the word is a short flag with its value in the same word."""
    return word.startswith(flag) and len(word) > len(flag)


def tags_of(words: tuple[str, ...]) -> list[str]:
    """What stands behind the tags' flags, as it was typed."""
    found: list[str] = []
    taking = False
    for word in words:
        if word.startswith("--tags=") or _is_attached(word, TAGS[1]):
            taking = False
            found.append(word.removeprefix("--tags=").removeprefix(TAGS[1]))
        elif taking and not word.startswith("-"):
            found.append(word)
        else:
            taking = word in TAGS
    return found


def with_tag(words: tuple[str, ...], tag: str) -> tuple[str, ...]:
    """The same command for one tag alone."""
    kept: list[str] = []
    taking = False
    for word in words:
        if word in TAGS or word.startswith("--tags=") or _is_attached(word, TAGS[1]):
            taking = word in TAGS
        elif not taking or word.startswith("-"):
            taking = False
            kept.append(word)
    return (*kept, TAGS[0], tag)


_ENV_DETAILS = "--generate-sys-env-details"


def as_switches(words: list[str]) -> list[str]:
    """`--generate-sys-env-details True`, as older tools want it typed, as the switch that it is; everything else stays.

    The word behind it is taken where it is one of those that mean yes or no.
    """
    changed: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name != _ENV_DETAILS:
            changed.append(word)
            continue
        if not equals and rest and rest[0].lower() in (*_YES, *_NO):
            value = rest.pop(0)
        changed.append("--no-sys-env-details" if value.lower() in _NO else "--sys-env-details")
    return changed


_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


def spread_tags(words: list[str]) -> list[str]:
    """`--tags a b c` as `--tags a --tags b --tags c`; everything else stays.

    Not so for `explain`: what stands there without a flag is a key.
    """
    if words[:1] == ["explain"]:
        return list(words)
    spread: list[str] = []
    taking = False
    for word in words:
        if word in TAGS:
            taking = True
            spread.append(word)
        elif taking and not word.startswith("-"):
            if spread[-1] not in TAGS:
                spread.append(TAGS[0])
            spread.append(word)
        else:
            taking = False
            spread.append(word)
    return spread

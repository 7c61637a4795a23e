"""What the option parser cannot say: `--tags a b c`, as existing users type it."""

from __future__ import annotations

TAGS = ("--tags", "-t")


def with_tag(words: tuple[str, ...], tag: str) -> tuple[str, ...]:
    """The same command for one tag alone."""
    kept: list[str] = []
    taking = False
    for word in words:
        if word in TAGS or word.startswith("--tags="):
            taking = word in TAGS
        elif not taking or word.startswith("-"):
            taking = False
            kept.append(word)
    return (*kept, TAGS[0], tag)


def spread_tags(words: list[str]) -> list[str]:
    """`--tags a b c` as `--tags a --tags b --tags c`; everything else stays."""
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

"""What the option parser cannot say: `--tags a b c`, as existing users type it."""

from __future__ import annotations

TAGS = ("--tags", "-t")


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

"""A rule for arguments that the script's own parser does not know; only where that can be read off without doubt."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.scripts import Script
from madrun.registry.lint.subject import CardView

_SWITCH = re.compile(r"\bcase\s+[\"']?\$\{?(?:1|key|arg|opt|i)\}?[\"']?\s+in\b(.*?)(?:^|[\s;])esac\b", re.DOTALL)
_PATTERN = re.compile(r"(?:^|;;|[\s(])\s*\(?([-\w*?|=\"' ]+?)\)", re.MULTILINE)
LONGEST = 20_000  # letters of a switch; more is none that a person wrote
_GETOPTS = re.compile(r"\bgetopts\s+[\"']?(:?[A-Za-z:?]+)[\"']?\s")


def unknown_argument(view: CardView) -> Iterator[Hit]:
    """An option among the card's arguments that its script refuses or overlooks."""
    known = _known(view)
    if known is None or not view.card.args:
        return
    try:
        words = shlex.split(view.card.args)
    except ValueError:
        return
    for word in words:
        option = word.split("=", 1)[0]
        if re.fullmatch(r"--?[A-Za-z][\w-]*", option) and not _takes(option, known):
            yield view.hit("args", f"args: {option}; {view.card.script} knows {', '.join(sorted(known)[:12])}")


def _takes(option: str, known: frozenset[str]) -> bool:
    """Whether the option is one of those, or a beginning, or letters, or a single dash with its value attached."""
    if option.startswith("--"):
        return any(name.startswith(option) for name in known)
    return option in known or option[:2] in known


def _known(view: CardView) -> frozenset[str] | None:
    """The options of the script's parser; None where it has none that can be read with certainty."""
    options, text = view.repository.options, view.script
    if text is None:
        return None
    if text.name not in options:
        if text.is_shell:
            options[text.name] = of_shell(Script(text))
        else:
            options[text.name] = of_python(text.raw) if text.is_python else None
    return options[text.name]


def of_shell(script: Script) -> frozenset[str] | None:
    """What a `case` over $1 or getopts takes, where anything else ends the script."""
    code = "\n".join(line.text for line in script.lines)
    getopts = _GETOPTS.findall(code)
    if len(getopts) == 1 and "-:" not in code:
        return frozenset(f"-{letter}" for letter in getopts[0] if letter.isalpha())
    switches = _SWITCH.findall(code)
    if len(switches) != 1 or len(switches[0]) > LONGEST:
        return None
    switch = switches[0]
    default = re.search(r"(?:^|[\s;])\(?\*\)(.*)", switch, re.DOTALL)
    if not default or not re.search(r"\b(?:exit\s+[1-9]|usage|die)\b", default[1]):
        return None
    found: set[str] = set()
    for patterns in _PATTERN.findall(switch):
        found |= {word.strip(" \"'").split("=")[0] for word in patterns.split("|")}
    options = {word for word in found if word.startswith("-") and "*" not in word}
    opaque = any("*" in word and word != "*" for word in found)
    return frozenset(options) if options and not opaque else None


def of_python(source: str) -> frozenset[str] | None:
    """What one argparse parser takes, where every option is written out."""
    try:
        tree = ast.parse(source if "add_argument" in source else "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    options = {"-h", "--help"}
    for node in calls:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if _adds_more(name, node):
            return None
        if name == "add_argument":
            texts = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
            if len(texts) != len(node.args):
                return None
            negated = any(word.arg == "action" and "BooleanOptional" in ast.dump(word.value) for word in node.keywords)
            options |= {text for text in texts if text.startswith("-")}
            options |= {f"--no-{text[2:]}" for text in texts if negated}
    return frozenset(options) if calls else None


def _adds_more(name: str, call: ast.Call) -> bool:
    """Whether the call lets in options that are not written out here."""
    if name in ("parse_known_args", "add_subparsers", "HfArgumentParser", "parse_args_into_dataclasses"):
        return True
    if name.endswith("ArgumentParser"):
        return any(word.arg in ("parents", "prefix_chars") for word in call.keywords)
    more = re.fullmatch(r"(?:add|get|make|build)_\w*(?:args|arguments|parser)", name)
    return bool(call.args) and bool(more)


UNKNOWN_ARGUMENT = Rule("unknown-argument", "warning", "correct it, or teach the script to read it", unknown_argument)

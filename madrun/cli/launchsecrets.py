"""Values of secrets, taken out of all that is given to nodes: these get them from the private file alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from madrun.backends.table import BACKENDS
from madrun.cli.layers import set_values
from madrun.cli.options import RunOptions
from madrun.cli.privatevalues import each_leaf, is_reference, put_back, reference, value_of
from madrun.planning.layers import parse_text
from madrun.spec.context import VARIABLE_NAME, Context, holding, is_secret
from madrun.spec.masking import without_secrets
from madrun.spec.plan import SECRET

_FILES = ("--site", "--manifest-file", "--additional-context-file")  # whose values may be secrets, and are read as maps
_YAML = (".yaml", ".yml")
_BACKENDS = frozenset(key for _, keys in BACKENDS.values() for key in keys)  # no value there is a variable's
_HIDDEN = "hidden"
_TELLING = 4  # digits of a number that tells something


@dataclass(slots=True)
class _Hiding:
    """What was found so far: `known` are values of secrets, `values` what goes to the private file, by reference."""

    known: dict[str, str]
    values: dict[str, str] = field(default_factory=dict)

    def see(self, names: tuple[str, ...], leaf: Any) -> Any:
        """Remembers a secret's value, and changes nothing."""
        if isinstance(leaf, (str, int, float)) and not isinstance(leaf, bool) and _is_of_secret(names):
            self.known[str(leaf)] = str(leaf)
        return leaf

    def hide(self, names: tuple[str, ...], leaf: Any) -> Any:
        """The reference where the leaf is a secret's value, or one stands in it."""
        if _BACKENDS & set(names) or isinstance(leaf, bool) or not isinstance(leaf, (str, int, float)) or leaf == "":
            return leaf
        if isinstance(leaf, str) and is_reference(leaf):  # of a launch that this command is started in
            return self._referred(put_back(leaf, names[-1]))
        if _is_of_secret(names) or (isinstance(leaf, str) and holding({"": leaf}, self.known)):
            return self._referred(leaf)
        return leaf

    def _referred(self, leaf: Any) -> str:
        text = json.dumps(leaf)
        known = next((name for name, value in self.values.items() if value == text), None)
        name = known or reference(len(self.values) + 1)
        self.values[name] = text
        return name


def _is_of_secret(names: tuple[str, ...]) -> bool:
    """Also an entry of a list that a secret's name has."""
    name = next((name for name in reversed(names) if name), "")
    return bool(is_secret(name) and VARIABLE_NAME.fullmatch(name) and not _BACKENDS & set(names))


def apart(
    options: RunOptions, given: Mapping[str, str], texts: dict[str, str], env: Mapping[str, str]
) -> tuple[RunOptions, dict[str, str]]:
    """The options without values of secrets, and these values by the names of the private file.

    `texts`: files by name, of which `given` says what they are by flag; they are changed in the same way. `env`:
    variables that go to the nodes anyway. A reference stands in the place of each value, so that every layer means what
    it meant; a secret of `--env` is named there instead.
    """
    hiding = _Hiding({value: value for value in env.values()})
    files = {given[flag]: Path(given[flag]).suffix for flag in _FILES if flag in given}
    contexts = [_read(texts[name], suffix) for name, suffix in files.items()]
    inline = options.additional_context
    sets = [set_values(word, "--set") for word in options.set_key or ()]
    for context in (*contexts, parse_text(inline, "--additional-context") if inline else {}, *sets):
        each_leaf(context, hiding.see)
    pairs = [word.partition("=") for word in options.env or ()]
    said = [value if given else os.environ.get(name, "") for name, given, value in pairs if is_secret(name)]
    hiding.known |= dict(zip(said, said, strict=True))
    for name, suffix in files.items():
        texts[name] = _text_without(texts[name], suffix, hiding)
    words = [_named(word, hiding) for word in options.env or ()]
    changed = replace(
        options,
        additional_context=inline and _text_without(inline, "", hiding),
        env=words or None,
        arg=[str(hiding.hide(("--arg", ""), word)) for word in options.arg or ()] or None,
        set_key=[_set_without(word, hiding) for word in options.set_key or ()] or None,
    )
    return changed, hiding.values


def without_values(options: RunOptions) -> RunOptions:
    """The same with the word `hidden` for every secret: for command lines of hosts on which nobody needs the value."""
    kept, values = apart(options, {}, {}, {})
    pairs = [word.partition("=") for word in kept.env or ()]
    words = ["".join((name, given, _HIDDEN if given and is_secret(name) else value)) for name, given, value in pairs]

    def plain(text: str) -> str:
        for name in reversed(values):  # MADRUN_SECRET_1 begins MADRUN_SECRET_10
            text = text.replace(name, _HIDDEN)
        return text

    inline = kept.additional_context
    return replace(
        kept,
        additional_context=inline and plain(inline),
        env=[*map(plain, words)] or None,
        arg=[*map(plain, kept.arg or ())] or None,
        set_key=[*map(plain, kept.set_key or ())] or None,
    )


def of_plan(text: str, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Secrets that a saved plan names and this host has; what is missing, the nodes say as one node does."""
    try:
        job = json.loads(text)["job"]
        arguments = job["image"]["build_args"].items()
        names = [*job["secrets"], *(name for name, value in arguments if value == SECRET)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}  # no plan of madrun, which who reads it says better
    return {name: env[name] for name in names if isinstance(name, str) and name in env}


def masked(command: tuple[str, ...], values: Mapping[str, str], context: Context) -> tuple[str, ...]:
    """What was typed as files may show it: without these values, and without those of secret build arguments."""
    hidden = {name: value_of(value) if is_reference(name) else value for name, value in values.items()}
    secret = {**context.docker_build_arg, **hidden}
    telling = {name: value for name, value in secret.items() if not value.isdigit() or len(value) >= _TELLING}
    return without_secrets(command, {name: value for name, value in telling.items() if is_secret(name)})


def _read(text: str, suffix: str) -> dict[str, Any]:
    """A file's map in the notation that its name says."""
    if suffix.lower() in _YAML:
        import yaml

        value = yaml.safe_load(text)
        return value if isinstance(value, dict) else {}
    return parse_text(text, _FILES[-1])


def _text_without(text: str, suffix: str, hiding: _Hiding) -> str:
    """As it was written where nothing of it is secret, else in the same notation."""
    context = _read(text, suffix)
    kept = each_leaf(context, hiding.hide)
    if kept is context:
        return text
    if suffix.lower() in _YAML:
        import yaml

        return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    return json.dumps(kept) if _is_json(text) else repr(kept)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _named(word: str, hiding: _Hiding) -> str:
    """`--env NAME=VALUE` with a value that holds a secret under another name goes by reference, as in a context."""
    name, given, value = word.partition("=")
    if not given:
        return word
    if is_secret(name):
        return f"{name}={value_of(os.environ[value])}" if is_reference(value) and value in os.environ else word
    return f"{name}={hiding.hide(('--env', ''), value)}"


def _set_without(word: str, hiding: _Hiding) -> str:
    """The word, its value a reference or a map that holds some."""
    values = set_values(word, "--set")
    kept: Any = each_leaf(values, hiding.hide)
    if kept is values:
        return word
    key = word.partition("=")[0].strip()
    for part in key.split("."):
        kept = kept[part]
    return f"{key}={kept if isinstance(kept, str) and is_reference(kept) else json.dumps(kept)}"

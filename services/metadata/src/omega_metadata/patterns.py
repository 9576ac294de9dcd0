"""Which names a listing shows: globs, regular expressions, hidden and temporary names. Pure.

Regular expressions are RE2's: their time is linear in the name, so no pattern can stall the service.
"""

from __future__ import annotations

from collections.abc import Callable

import re2

from omegaproto.errors import BadFilter
from omegaproto.names import is_hidden, is_temporary

Matcher = Callable[[str], bool]


def literal_prefix(pattern: str | None) -> str:
    """Give the text before the first ``*``: every match starts with it."""
    return "" if pattern is None else pattern.partition("*")[0]


def name_matcher(pattern: str | None, regexp: str | None, *, hidden: bool, include_temp: bool) -> Matcher:
    """Give the decision for a listing. A pattern that itself names something hidden or temporary shows it.

    Raises:
        BadFilter: `regexp` is not a regular expression.
    """
    asked = regexp or pattern or ""
    matches = _expression(pattern, regexp)
    show_hidden = hidden or is_hidden(asked.lstrip("^"))
    show_temporary = include_temp or is_temporary(asked.lstrip("^"))

    def matcher(name: str) -> bool:
        if is_hidden(name) and not show_hidden:
            return False
        if is_temporary(name) and not show_temporary:
            return False
        return matches(name)

    return matcher


def _expression(pattern: str | None, regexp: str | None) -> Matcher:
    if regexp:
        compiled = _compile(regexp)
        return lambda name: compiled.search(name) is not None
    if pattern and "*" in pattern:
        glob = _compile("".join(".*" if part == "*" else re2.escape(part) for part in _split(pattern)))
        return lambda name: glob.fullmatch(name) is not None
    if pattern:
        return lambda name: name == pattern
    return lambda name: True


def _split(pattern: str) -> list[str]:
    parts: list[str] = []
    for index, literal in enumerate(pattern.split("*")):
        parts += ["*", literal] if index else [literal]
    return parts


def _compile(expression: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise BadFilter(
            f"{expression!r} is not a regular expression: {reason}.",
            action="Use RE2 syntax (no look-around, no back-references), or a pattern with *.",
        ) from error

"""The name grammar: one parser for every store.

::

    reference  = path [ "[" columns "]" ] [ "@" version | "^"… ] [ "#" [ op [ ":" key "=" value { "," … } ] ] ]
    columns    = "^" name { "," name }            all but these
               | item { "," item }                these, in this order
    item       = name | [ name ] ":" [ name ]     one column, or an inclusive slice

``path`` is free text with slashes; it never becomes a path in a file system. Parsing and printing are inverse:
``str(parse_name(text)) == text`` for every text in canonical form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from omegaproto.errors import BadName, UnknownColumn
from omegaproto.messages import Message

MAX_NAME_LENGTH = 1024
"""Characters in an object's name."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SUFFIX = re.compile(
    r"^(?P<path>[^\[\]@^#{}]+)"
    r"(?:\[(?P<columns>[^\[\]]*)\])?"
    r"(?:@(?P<version>[^\[\]@^#{}]+)|(?P<back>\^+))?"
    r"(?:#(?P<op>[A-Za-z0-9_.\-]*)(?::(?P<args>[^#]*))?)?$"
)
_HELP = "Write name, name[col1,col2], name[^col], name[a:b], name@tag, name^ or name#op:key=value."


class ColumnItem(Message):
    """One column (`start` alone), or an inclusive slice from `start` to `stop`; None is an open end."""

    start: str | None = None
    stop: str | None = None
    is_slice: bool = False

    def __str__(self) -> str:
        if not self.is_slice:
            return self.start or ""
        return f"{self.start or ''}:{self.stop or ''}"


class Columns(Message):
    """A choice of columns: the items in their order, or everything except them."""

    items: tuple[ColumnItem, ...]
    exclude: bool = False

    def __str__(self) -> str:
        return ("^" if self.exclude else "") + ",".join(map(str, self.items))

    def resolve(self, available: Sequence[str]) -> list[str]:
        """Give the chosen column names, each once, out of the `available` ones in the frame's order.

        Raises:
            UnknownColumn: an item names a column that is not available.
        """
        chosen: dict[str, None] = {}
        for item in self.items:
            chosen.update(dict.fromkeys(_resolve_item(item, available)))
        if self.exclude:
            return [name for name in available if name not in chosen]
        return list(chosen)


class NameRef(Message):
    """A parsed reference to an object: its name, and which columns, version or lazy operation of it are meant."""

    path: str
    columns: Columns | None = None
    version: str | None = None
    """A tag, a revision id or a revision number."""
    back: int = 0
    """How many revisions before the newest: the number of ``^``."""
    op: str | None = None
    op_args: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        text = self.path
        if self.columns is not None:
            text += f"[{self.columns}]"
        text += f"@{self.version}" if self.version is not None else "^" * self.back
        if self.op is not None:
            text += f"#{self.op}"
            if self.op_args:
                text += ":" + ",".join(f"{key}={value}" for key, value in self.op_args)
        return text

    @property
    def is_hidden(self) -> bool:
        """Say whether a segment of the path starts with a dot."""
        return is_hidden(self.path)


def is_hidden(path: str) -> bool:
    """Say whether listings leave `path` out unless asked: some segment starts with a dot."""
    return any(segment.startswith(".") for segment in path.split("/"))


def is_temporary(path: str) -> bool:
    """Say whether `path` names a temporary object: it starts with an underscore."""
    return path.startswith("_")


def check_path(path: str) -> str:
    """Give `path` back when it can name an object.

    Raises:
        BadName: it is empty, too long, holds control or reserved characters, or has an empty, ``.`` or ``..`` segment.
    """
    problem = _path_problem(path)
    if problem:
        raise BadName(f"{path[:80]!r} cannot name an object: {problem}.", action=_HELP)
    return path


def parse_name(text: str) -> NameRef:
    """Parse a reference.

    Raises:
        BadName: `text` breaks the grammar; the message says where.
    """
    if not isinstance(text, str):
        raise BadName(f"An object name is text, not {type(text).__name__}.", action=_HELP)
    if len(text) > 4 * MAX_NAME_LENGTH:
        raise BadName(f"A reference of {len(text)} characters is too long.", action=_HELP)
    match = _SUFFIX.match(text)
    if match is None:
        raise BadName(f"{text[:80]!r} is not a name.", action=_HELP)
    columns, args = match["columns"], match["args"]
    return NameRef(
        path=check_path(match["path"]),
        columns=None if columns is None else _parse_columns(columns),
        version=match["version"],
        back=len(match["back"] or ""),
        op=match["op"],
        op_args=_parse_args(args) if args else (),
    )


def _path_problem(path: str) -> str | None:
    if not path:
        return "it is empty"
    if len(path) > MAX_NAME_LENGTH:
        return f"it is longer than {MAX_NAME_LENGTH} characters"
    if _CONTROL.search(path):
        return "it holds a control character"
    if any("\ud800" <= char <= "\udfff" for char in path):
        return "it holds half a surrogate pair, which is not text"
    if reserved := set("[]@^#{}") & set(path):
        return f"it holds the reserved character {min(reserved)!r}"
    if any(segment in {"", ".", ".."} for segment in path.split("/")):
        return "a segment between slashes is empty, '.' or '..'"
    return None


def _parse_columns(text: str) -> Columns:
    exclude = text.startswith("^")
    items = tuple(_parse_item(part) for part in text.removeprefix("^").split(","))
    return Columns(items=items, exclude=exclude)


def _parse_item(part: str) -> ColumnItem:
    start, colon, stop = part.strip().partition(":")
    if not colon and not start:
        raise BadName("A column expression has an empty item.", action=_HELP)
    return ColumnItem(start=start or None, stop=stop or None, is_slice=bool(colon))


def _parse_args(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise BadName(f"{part!r} is not key=value.", action=_HELP)
        pairs.append((key, value))
    return tuple(pairs)


def _resolve_item(item: ColumnItem, available: Sequence[str]) -> Sequence[str]:
    def position(name: str | None, default: int) -> int:
        if name is None:
            return default
        if name not in available:
            raise UnknownColumn(
                f"There is no column {name!r}.", action=f"The frame has: {', '.join(available[:50])}.", column=name
            )
        return list(available).index(name)

    if not item.is_slice:
        return [available[position(item.start, 0)]]
    return available[position(item.start, 0) : position(item.stop, len(available) - 1) + 1]

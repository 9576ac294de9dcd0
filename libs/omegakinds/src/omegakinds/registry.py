"""Which kinds there are: those registered at runtime, those of installed plugins, and our own, in that order.

A more specific plugin therefore comes before our general kinds. Plugins are found lazily, on the first question.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from omegakinds.base import Kind
from omegaproto.errors import UnknownKind
from omegaproto.objects import Store

GROUP = "omega.kinds"
OWN_DISTRIBUTION = "omegamesh"
_OWN_ORDER = ("pandas", "numpy", "sklearn", "file", "python")


class KindRegistry:
    """Finds the kind for an object or for a stored kind's name.

    `plugins` replaces the installed entry points (for tests and closed environments).
    """

    def __init__(self, plugins: Iterable[EntryPoint] | None = None) -> None:
        self._plugins = plugins
        self._registered: list[Kind] = []
        self._found: list[Kind] | None = None

    def __iter__(self) -> Iterator[Kind]:
        yield from self._registered
        taken = {kind.name for kind in self._registered}
        yield from (kind for kind in self._installed() if kind.name not in taken)

    def register(self, kind: Kind) -> None:
        """Add a kind for this registry's life. It is asked first, and replaces a kind of the same name."""
        self._registered = [kind, *(known for known in self._registered if known.name != kind.name)]

    def by_name(self, name: str) -> Kind:
        """Give the kind of that name. Raises UnknownKind naming those installed."""
        for kind in self:
            if kind.name == name:
                return kind
        raise UnknownKind(f"The kind {name!r} is not installed.", action=f"Installed are: {self._names(None)}.")

    def for_object(
        self, obj: object, name: str = "", store: Store | None = None, kind: str | None = None, **options: Any
    ) -> Kind:
        """Give the first kind that supports `obj` in `store` (None: in any), or the one that `kind` names.

        Raises:
            UnknownKind: no kind supports it, or the named one is not installed or not for that store.
        """
        if kind is not None:
            return self._named(kind, store)
        for candidate in self:
            if (store is None or store in candidate.stores) and candidate.supports(obj, name, **options):
                return candidate
        where = "" if store is None else f" in {store}"
        raise UnknownKind(
            f"No kind stores an object of type {type(obj).__module__}.{type(obj).__qualname__}{where}.",
            action=f"Kinds{where}: {self._names(store)}. Convert the object, or install a plugin for its type.",
        )

    def _named(self, name: str, store: Store | None) -> Kind:
        kind = self.by_name(name)
        if store is not None and store not in kind.stores:
            raise UnknownKind(
                f"The kind {name!r} is not for {store}.", action=f"Kinds in {store}: {self._names(store)}."
            )
        return kind

    def _names(self, store: Store | None) -> str:
        return ", ".join(sorted(kind.name for kind in self if store is None or store in kind.stores))

    def _installed(self) -> list[Kind]:
        if self._found is None:
            plugins = entry_points(group=GROUP) if self._plugins is None else self._plugins
            self._found = _load_all(sorted(plugins, key=_order))
        return self._found


def _order(plugin: EntryPoint) -> tuple[bool, int, str, str]:
    own = _distribution(plugin) == OWN_DISTRIBUTION
    rank = _OWN_ORDER.index(plugin.name) if own and plugin.name in _OWN_ORDER else len(_OWN_ORDER)
    return own, rank, _distribution(plugin), plugin.name


def _distribution(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist is not None else ""


def _load_all(plugins: Iterable[EntryPoint]) -> list[Kind]:
    kinds: dict[str, Kind] = {}
    for plugin in plugins:
        for kind in _load(plugin):
            if kind.name in kinds and _distribution(plugin) != OWN_DISTRIBUTION:
                _warn(plugin, f"the kind {kind.name!r} is taken")
            elif kind.name in kinds:
                _warn_replaced(kind.name)
                kinds[kind.name] = kind
            else:
                kinds[kind.name] = kind
    return list(kinds.values())


def _load(plugin: EntryPoint) -> list[Kind]:
    try:
        found = list(plugin.load()())
        if wrong := [kind for kind in found if not isinstance(kind, Kind)]:
            raise TypeError(f"{wrong[0]!r} is not a kind")  # noqa: TRY301 - reported like every other defect of a plugin
    except Exception as error:
        _warn(plugin, f"{type(error).__name__}: {error}")
        return []
    return found


def _warn(plugin: EntryPoint, reason: str) -> None:
    warnings.warn(
        f"The plugin {plugin.name!r} of {_distribution(plugin) or 'an unknown package'} ({plugin.value}) is left out: "
        f"{reason}. Update or uninstall it.",
        RuntimeWarning,
        stacklevel=2,
    )


def _warn_replaced(name: str) -> None:
    warnings.warn(
        f"A plugin took the built-in kind {name!r}; the built-in one is used. Uninstall or rename the plugin's kind.",
        RuntimeWarning,
        stacklevel=2,
    )

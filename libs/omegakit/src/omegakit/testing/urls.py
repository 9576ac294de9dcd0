"""Pure rewriting of server URLs: another address, another database, another virtual host."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_DEFAULT_PORTS = {"amqp": 5672, "mongodb": 27017, "http": 80}


def address_of(url: str) -> tuple[str, int]:
    """Give the host and port that a URL names, with the scheme's usual port where it names none.

    Raises ValueError for a URL without a host, or without a port and of an unknown scheme.
    """
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if parts.hostname is None or port is None:
        raise ValueError(f"{url!r} names no host and port. Give it as scheme://host:port/…")
    return parts.hostname, port


def with_address(url: str, host: str, port: int) -> str:
    """Give the URL with another host and port; user, path and query stay.

    A MongoDB URL becomes a direct connection, as a replica set's members would be looked up under their own addresses.
    """
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    query = parts.query
    if parts.scheme == "mongodb":
        options = {name: value for name, value in parse_qsl(query) if name != "replicaSet"}
        query = urlencode(options | {"directConnection": "true"})
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}:{port}", query=query))


def with_database(url: str, name: str) -> str:
    """Give a MongoDB URL that names another database and still logs in where the first one did."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.username is not None:
        options.setdefault("authSource", parts.path.strip("/") or "admin")
    return urlunsplit(parts._replace(path=f"/{name}", query=urlencode(options)))


def with_vhost(url: str, name: str) -> str:
    """Give an AMQP URL on another virtual host."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(name, safe='')}"))

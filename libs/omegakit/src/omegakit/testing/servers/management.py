"""RabbitMQ's management API, as far as tests need it: virtual hosts, and what the broker says of itself."""

import base64
import http.client
import json
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from omegakit.testing.servers.process import ServerFailed


class BrokerApi:
    """A small blocking client of one broker's management API."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 15672
        self._user = unquote(parts.username or "guest")
        login = f"{self._user}:{unquote(parts.password or 'guest')}"
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(login.encode()).decode(),
            "Content-Type": "application/json",
        }

    def ready(self) -> bool:
        """Whether the broker answers and takes AMQP connections."""
        try:
            overview = self.get("overview")
        except (OSError, http.client.HTTPException, ServerFailed):
            return False
        return any(listener["protocol"] == "amqp" for listener in overview.get("listeners", []))

    def get(self, path: str) -> Any:
        """Give the decoded answer of GET /api/`path`; raises ServerFailed on a status of 400 or more."""
        return self._request("GET", path)

    def create_vhost(self, name: str) -> None:
        """Create a virtual host and give this user every right on it."""
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._request("PUT", f"vhosts/{quote(name, safe='')}", {})
        self._request("PUT", f"permissions/{quote(name, safe='')}/{quote(self._user, safe='')}", everything)

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its queues; its connections are closed by the broker."""
        self._request("DELETE", f"vhosts/{quote(name, safe='')}")

    def close_connections(self) -> int:
        """Have the broker close every client's connection, as an operator can; gives how many it closed."""
        names = [connection["name"] for connection in self.get("connections")]
        for name in names:
            self._request("DELETE", f"connections/{quote(name, safe='')}")
        return len(names)

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, f"/api/{path}", body=payload, headers=self._headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise ServerFailed(f"{method} /api/{path} on port {self.port} answered {answer.status}: {content[:500]!r}")
        return json.loads(content) if content else None

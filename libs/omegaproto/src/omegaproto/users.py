"""Users, API keys and grants, and the requests that metadata answers about them.

A key reads ``omk_<id>_<secret>``: the id finds the record, the secret is kept only as an HMAC with the mesh's pepper.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, SecretStr, field_serializer

from omegaproto.messages import Empty, Event, Message, Request
from omegaproto.scopes import Principal, Role


class Authenticate(Request[Principal], subject="metadata.authenticate", operation="mesh.internal"):
    """Exchange an API key for the principal behind it. Raises Unauthenticated (one message for every reason)."""

    bucket: str = "*"
    apikey: SecretStr
    userid: str | None = None
    """When given, the key must belong to this user."""

    @field_serializer("apikey", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class KeyIssued(Message):
    """A new API key. It is shown this once and cannot be read again."""

    userid: str
    key_id: str
    apikey: SecretStr

    @field_serializer("apikey", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class CreateUser(Request[KeyIssued], subject="metadata.create_user", operation="user.manage"):
    """Create a user with grants and a first key. Repeating it for an existing user raises DuplicateKey."""

    bucket: str = "*"
    userid: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.@-]+$")
    grants: dict[str, Role] = Field(default_factory=dict)


class IssueKey(Request[KeyIssued], subject="metadata.issue_key", operation="user.manage"):
    """Issue one more key to a user. Raises UserNotFound."""

    bucket: str = "*"
    userid: str
    expires_at: datetime | None = None


class RevokeKey(Request[Empty], subject="metadata.revoke_key", operation="user.manage"):
    """Revoke a key at once, everywhere. Raises UserNotFound."""

    bucket: str = "*"
    key_id: str


class SetGrants(Request[Empty], subject="metadata.set_grants", operation="user.manage"):
    """Replace a user's grants (role by bucket). Raises UserNotFound."""

    bucket: str = "*"
    userid: str
    grants: dict[str, Role]


class AccessChanged(Event, subject="metadata.access_changed"):
    """Keys or grants of a user changed: whoever caches them must forget them now."""

    userid: str
    key_id: str | None = None

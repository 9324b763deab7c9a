"""What logging in takes and gives: the union of both documents' fields."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from control.permissions import Permission
from control.schema import Given, Taken, Timestamp, Title

Password = Annotated[str, Field(min_length=1, max_length=1024)]


class Credentials(Taken):
    """The name or the email address, in either field, and the password."""

    email: Annotated[str, Field(max_length=320)] = ""
    username: Annotated[str, Field(max_length=320, validate_default=True)] = ""
    password: Password

    @field_validator("username")
    @classmethod
    def _named(cls, name: str, others: ValidationInfo) -> str:
        # An address that is faulty itself is not among the others.
        if not (name or others.data.get("email", "?")).strip():
            raise ValueError("is required, or an email")
        return name


class Login(Given):
    """Tokens, and whose they are. ``token`` is ``access_token`` again, ``expires_in`` in seconds."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    success: bool
    token: str
    userId: str  # noqa: N815 - the document's
    email: str
    requires2FA: bool  # noqa: N815


class Refresh(Taken):
    """A refresh token that has not been used."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=200)]


class PasswordChange(Taken):
    """The present password, and the next."""

    current_password: Password
    new_password: Annotated[str, Field(min_length=8, max_length=1024)]


class ApiKeyCreate(Taken):
    """``scopes`` narrows what the key may do, empty: what its user may. Those that end in ``-all`` or ``:all`` reach others'
    things, and count beside the scope of one's own: ``streams:view-all`` with ``streams``, ``analytics:all`` with ``analytics``.
    ``expires_in`` in seconds."""

    name: Title
    scopes: Annotated[list[Permission], Field(max_length=50)] = Field(default_factory=list)
    expires_in: Annotated[int, Field(ge=60, le=10 * 365 * 86400)] | None = None


class ApiKey(Given):
    """A key without its secret."""

    id: int
    name: str
    prefix: str
    scopes: list[str]
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None


class ApiKeyCreated(ApiKey):
    """A new key; ``key`` is shown this once."""

    key: str


class ApiKeys(Given):
    """A user's keys."""

    api_keys: list[ApiKey]

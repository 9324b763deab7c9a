"""Users as the Panel document has them."""

from typing import Annotated

from pydantic import Field, StringConstraints

from control.permissions import Role
from control.schema import UNPRINTABLE, Changes, Given, Listed, Taken, Timestamp

Username = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=64, pattern=r"^[\w.+-]+$")]
Email = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=320, pattern=f"^[^@\\s{UNPRINTABLE}]+@[^@\\s{UNPRINTABLE}]+$")
]
NewPassword = Annotated[str, Field(min_length=8, max_length=1024)]


class UserCreate(Taken):
    """A new user."""

    username: Username
    email: Email
    password: NewPassword
    role: Role = Role.USER


class UserUpdate(Changes):
    """What is to change."""

    username: Username | None = None
    email: Email | None = None
    password: NewPassword | None = None
    role: Role | None = None
    enabled: bool | None = None


class User(Given):
    """A user without secrets."""

    id: int
    username: str
    email: str
    role: str
    enabled: bool
    created_at: Timestamp
    last_login: Timestamp | None


class Users(Listed):
    """A page of users."""

    users: list[User]

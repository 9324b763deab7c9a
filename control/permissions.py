"""Who may do what: one table."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from control.errors import ControlError, ErrorCode


class Role(enum.Enum):
    """What a user is to the server."""

    ADMINISTRATOR = "administrator"
    MODERATOR = "moderator"
    USER = "user"


class Permission(enum.Enum):
    """One thing that can be allowed. What ends in ``all`` is other people's things as well; without it everybody has their
    own."""

    STREAMS = "streams"
    STREAMS_VIEW_ALL = "streams:view-all"
    STREAMS_STOP_ALL = "streams:stop-all"
    STREAMS_ALL = "streams:all"
    DESTINATIONS = "destinations"
    ANALYTICS = "analytics"
    ANALYTICS_ALL = "analytics:all"
    USERS_VIEW = "users:view"
    USERS = "users"
    RTMP = "rtmp"
    RTMP_VIEW = "rtmp:view"
    SYSTEM = "system"
    WEBHOOKS = "webhooks"
    AUDIT = "audit"
    ACCOUNT = "account"


_OWN = {
    Permission.STREAMS,
    Permission.DESTINATIONS,
    Permission.ANALYTICS,
    Permission.WEBHOOKS,
    Permission.ACCOUNT,
    Permission.RTMP_VIEW,
    Permission.SYSTEM,
}

#: What each role may. A moderator sees everything that is on air and can end it, and changes nobody else's things.
TABLE: Mapping[Role, frozenset[Permission]] = {
    Role.USER: frozenset(_OWN),
    Role.MODERATOR: frozenset(
        {*_OWN, Permission.STREAMS_VIEW_ALL, Permission.STREAMS_STOP_ALL, Permission.ANALYTICS_ALL, Permission.USERS_VIEW}
    ),
    Role.ADMINISTRATOR: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. ``scopes`` narrows what the role allows (an API key's); None does not. ``login_id`` is empty for an API key."""

    user_id: int
    username: str
    role: Role
    login_id: str = ""
    scopes: frozenset[Permission] | None = None

    def may(self, permission: Permission) -> bool:
        """Whether the table (and the key) allows it."""
        return permission in TABLE[self.role] and (self.scopes is None or permission in self.scopes)

    def require(self, *permissions: Permission) -> None:
        """Raises ControlError (403) where it allows none of these."""
        if not any(map(self.may, permissions)):
            words = " or ".join(permission.value for permission in permissions)
            raise ControlError(ErrorCode.FORBIDDEN, "Insufficient permissions", {"permission": words})

    def owns(self, user_id: int, everybody: Permission) -> bool:
        """Whether a thing of ``user_id`` is the actor's own, or ``everybody``'s things are allowed."""
        return user_id == self.user_id or self.may(everybody)

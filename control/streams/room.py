"""How much one user may have."""

from control.destinations import models as destination_rows
from control.errors import ControlError, ErrorCode
from control.rest import Call
from control.streams import models


async def keep_within(call: Call, owner: int) -> None:
    """Raises ControlError (409) where what was just made is more than one user may have, who is held: whoever makes another one
    at this moment is counted too."""
    limits = call.services.config.limits
    if await models.count_streams(call.tx, owner) > limits.streams_per_user:
        raise ControlError(ErrorCode.CONFLICT, f"Nobody has more than {limits.streams_per_user} streams: delete one")
    if await destination_rows.count_destinations(call.tx, owner) > limits.destinations_per_user:
        raise ControlError(ErrorCode.CONFLICT, f"Nobody has more than {limits.destinations_per_user} destinations: delete one")

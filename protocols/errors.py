"""What can go wrong between two ends of a protocol, told by whose fault it was (h11's distinction)."""


class ProtocolError(Exception):
    """Root of everything that a wire format raises."""


class LocalProtocolError(ProtocolError):
    """Our own side asked for something that the protocol does not allow now: a bug in the caller."""


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that the format does not allow. The connection cannot go on."""


class LimitExceeded(RemoteProtocolError):
    """The peer stayed within the format but beyond what we are willing to hold for it."""

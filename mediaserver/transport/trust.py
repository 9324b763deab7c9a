"""Whom TLS believes when the server is the client."""

import ssl


def client_tls(authority: str = "", *, verify: bool = True) -> ssl.SSLContext:
    """A client's TLS context: TLS 1.2 or newer, certificates and names checked, ``authority`` (a PEM file) trusted beside the
    system's. Without ``verify`` anybody is believed. Raises OSError for a file that cannot be read. It takes a while."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority:
        context.load_verify_locations(authority)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def objection(error: ssl.SSLError) -> str:
    """Why TLS did not come about, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    return f"TLS failed: {error.reason or 'the connection ended'}"

"""TLS where the server is the server: the context of a certificate and its key, and what is wrong with such a pair."""

import ssl
from typing import Any

#: What who speaks plain HTTP to a port of HTTPS is told.
_TOLD = b"The plain HTTP request was sent to an HTTPS port: begin the address with https://\n"
PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_TOLD), _TOLD)
)
#: Bytes of a file of certificates or keys that are looked at.
_MOST = 1 << 20
#: OpenSSL's reasons where a key is another certificate's.
_ANOTHER_S = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


class _HttpsHandshake(ssl.SSLObject):
    """Answers plain HTTP in kind, once."""

    outgoing: ssl.MemoryBIO
    _told = False

    def do_handshake(self) -> None:
        if self._told:
            raise ssl.SSLError("plain HTTP")
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason != "HTTP_REQUEST":
                raise
            self.outgoing.write(PLAIN_HTTP)
            self._told = True
            # The event loop sends nothing of a handshake that has failed: it fails with what comes next, or its timeout.
            raise ssl.SSLWantReadError from None


class _HttpsContext(ssl.SSLContext):
    """That of a port of HTTPS."""

    sslobject_class = _HttpsHandshake

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *rest: Any, **more: Any) -> ssl.SSLObject:
        wrapped = super().wrap_bio(incoming, outgoing, *rest, **more)
        if isinstance(wrapped, _HttpsHandshake):
            wrapped.outgoing = outgoing
        return wrapped


def https(certificate: str, key: str) -> ssl.SSLContext:
    """As ``server_tls``, for a port of HTTPS: who speaks plain HTTP to it is told so (PLAIN_HTTP)."""
    return _server_tls(_HttpsContext, certificate, key)


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """A server's TLS context: TLS 1.2 or newer. Raises OSError (ssl.SSLError is one) for files that are no such pair."""
    return _server_tls(ssl.SSLContext, certificate, key)


def _server_tls(kind: type[ssl.SSLContext], certificate: str, key: str) -> ssl.SSLContext:
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without a password of ours OpenSSL would ask the terminal for that of an encrypted key, and all would wait for it.
    context.load_cert_chain(certificate, key, password=lambda: "")
    return context


def objection_to_pair(certificate: str, key: str) -> tuple[str, str]:
    """("tls_cert" or "tls_key", what is wrong and what is allowed) for files that are no pair; twice "" for those that are."""
    try:
        server_tls(certificate, key)
    except ssl.SSLError as error:
        reason = error.reason or ""
    except OSError as error:
        return "tls_cert", f"cannot be read with its key: {error.strerror}"
    else:
        return "", ""
    if not holds_certificates(certificate):
        return "tls_cert", "there is no PEM certificate in it; allowed: the path of a PEM file with the certificate chain"
    with open(key, "rb") as file:
        text = file.read(_MOST)
    if b"ENCRYPTED" in text:
        return "tls_key", "the key is encrypted; allowed: the path of a PEM file with a key that needs no password"
    if b"PRIVATE KEY-----" not in text:
        return "tls_key", "there is no PEM private key in it; allowed: the path of a PEM file with the certificate's key"
    if reason in _ANOTHER_S:
        return "tls_key", "the key does not fit the certificate; allowed: the key that the certificate was made for"
    told = reason.replace("_", " ").lower() or "one of the files is damaged"
    return "tls_cert", f"cannot be used with its key: {told}; allowed: a certificate chain and its key, PEM files"


def holds_certificates(file: str) -> bool:
    """Whether there are certificates in ``file``, and none that is damaged."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError:
        return False
    return True

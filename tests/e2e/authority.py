"""An authority of a test's own: certificates for this machine that nobody else would trust."""

import ssl
import subprocess
from pathlib import Path

from tests.peers import program

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """Made in ``folder``. ``certificate`` is what has to be trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate, self._key = folder / "authority.pem", folder / "authority-key.pem"
        usage = ("-addext", "keyUsage=critical,keyCertSign")
        self._openssl("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=a test", *usage,
                      "-keyout", str(self._key), "-out", str(self.certificate))  # fmt: skip

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for ``name`` (such as ``IP:127.0.0.1``), and its key."""
        stem = self._folder / name.replace(":", "-")
        request, certificate, key = (stem.with_name(f"{stem.name}-{part}.pem") for part in ("request", "certificate", "key"))
        extensions = stem.with_name(f"{stem.name}.cnf")
        extensions.write_text(f"subjectAltName={name}\n")
        self._openssl("req", *_KEY, "-subj", "/CN=it", "-keyout", str(key), "-out", str(request))
        self._openssl("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key),
                      "-days", "2", "-extfile", str(extensions), "-out", str(certificate))  # fmt: skip
        return str(certificate), str(key)

    def server(self, name: str) -> ssl.SSLContext:
        """A server's context with such a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(name))
        return context

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run([program("openssl"), *arguments], check=True, capture_output=True)

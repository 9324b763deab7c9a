"""A receiver can tell that a message is ours: by the document's sample, and by Standard Webhooks."""

import base64
import hashlib
import hmac
import subprocess

from control.webhooks import signature
from tests.peers import program

#: As the Studio document prints it.
SAMPLE = """
const crypto = require('crypto');

function verifyWebhook(payload, signature, secret) {
  const expectedSignature = crypto
    .createHmac('sha256', secret)
    .update(payload)
    .digest('hex');

  return signature === expectedSignature;
}
const [payload, signature, secret] = process.argv.slice(1);
console.log(verifyWebhook(payload, signature, secret));
"""
BODY = '{"event": "stream.started", "stream_name": "d\\u00e9mo"}'


def test_the_printed_sample_verifies_it() -> None:
    secret = signature.new_secret()
    headers = signature.headers("msg_1", 1_700_000_000.9, BODY.encode(), [secret])
    for body, verdict in ((BODY, "true"), (BODY + " ", "false")):
        command = [program("node"), "-e", SAMPLE, body, headers["X-Webhook-Signature"], secret]
        assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip() == verdict


def test_standard_webhooks_own_example() -> None:
    """The specification's example of a signature, byte by byte."""
    headers = signature.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.0, b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


def test_an_owner_s_own_word_is_its_own_key() -> None:
    headers = signature.headers("msg_1", 5.0, b"{}", ["webhook_secret_key"])
    mac = hmac.digest(b"webhook_secret_key", b"msg_1.5.{}", hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


def test_while_a_secret_is_renewed_both_sign() -> None:
    new, old = signature.new_secret(), signature.new_secret()
    both = signature.headers("msg_1", 5.0, b"{}", [new, old])["webhook-signature"].split()
    assert both == [signature.headers("msg_1", 5.0, b"{}", [one])["webhook-signature"] for one in (new, old)]


def test_secrets_are_long_and_differ() -> None:
    assert len({signature.new_secret() for _ in range(100)}) == 100
    assert len(base64.b64decode(signature.new_secret().removeprefix("whsec_"))) == 24

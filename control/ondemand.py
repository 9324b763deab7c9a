"""What the control plane does without until somebody needs it: the whole list. ``mediaserver.ondemand`` loads it.

An idle server is small because nothing of this is in it, so no module that is there from the start imports one of these, but
where only a type checker looks. The libraries for a database or a Redis server that is configured come with the start.
"""

#: With the first connection that asks for something other than media: aiohttp and the pages (13 MB).
FRONT = "mediaserver.front"
#: With the first request for an operation: the domains, their schemas, JWT, Argon2 (25 MB with AES).
API = "control.api"
#: With the first secret that is sealed or opened: AES (8 MB).
CIPHER = "control.cipher"
#: With the first password: the administrator's, at the first start, or one that somebody logs in with.
PASSWORDS = "control.auth.passwords"

#: With the first message to a receiver: an HTTP client.
SENDER = "control.webhooks.sender"

EVERYTHING = (FRONT, API, CIPHER, PASSWORDS, SENDER)

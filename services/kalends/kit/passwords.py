"""Hashes of passwords for servers that check them themselves.

A newcomer would get wrong: the passwords are tokens of 256 random bits, so the lowest cost is enough; a higher one would only make every
connection slower.
"""

import bcrypt

_COST = 4


def broker_hash(password: str) -> str:
    """A bcrypt hash of *password* (at most 72 bytes) as nats-server reads it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=_COST, prefix=b"2a")).decode()

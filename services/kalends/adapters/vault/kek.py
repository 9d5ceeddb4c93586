"""The key-encryption key in Vault's transit engine: it never leaves Vault; data keys are sent there to be wrapped and unwrapped.

Belongs here: the port over transit's batches. Does not belong here: the connection. A newcomer would get wrong: ``transit/rewrap`` does not
take the associated data that binds a wrapped key to its place, and cannot open what has any; so a rotation unwraps and wraps, in two
questions, and the data key is for that moment where it is used anyway.
"""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kalends.adapters.vault.connection import VaultConnection, open_client
from kalends.adapters.vault.failures import DEPENDENCY
from kalends.domain import wrapped_keys
from kalends.domain.errors import Damaged, KalendsError, Unavailable
from kalends.domain.wrapped_keys import WrappedKey
from kalends.ports.kek import Bound
from kalends.settings import KeysSettings

BATCH = 250
_FORM = re.compile(r"vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+")
_PROBE = Bound(key=bytes(32), context=b"newest")
_TOO_OLD = "too old"


class VaultWrapper:
    """Data keys wrapped by a key of the transit engine; see ``ports.kek.Wrapper``. Its names are ``<mount>/<key>:v<version>``."""

    def __init__(self, connection: VaultConnection, *, mount: str, key: str) -> None:
        self._connection = connection
        self._mount = mount.strip("/")
        self._key = key
        self._prefix = f"{self._mount}/{key}:v"

    async def wrap(self, keys: Sequence[Bound]) -> Sequence[bytes]:
        """Each of *keys* as transit's newest version encrypts it, with its context as associated data."""
        items = [{"plaintext": _base64(one.key), "associated_data": _base64(one.context)} for one in keys]
        return [self._wrapped(result) for result in await self._batches("encrypt", items)]

    async def unwrap(self, wrapped: Sequence[Bound]) -> Sequence[bytes | KalendsError]:
        """For each the data key, or why there is none."""
        read = [self._ciphertext(one.key) for one in wrapped]
        items = [
            {"ciphertext": text, "associated_data": _base64(one.context)}
            for text, one in zip(read, wrapped, strict=True)
            if isinstance(text, str)
        ]
        opened = iter(await self._batches("decrypt", items))
        return [_opened(next(opened)) if isinstance(text, str) else text for text in read]

    async def newest(self) -> str:
        """The version that transit encrypts with now; it tells by encrypting something."""
        (wrapped,) = await self.wrap([_PROBE])
        return wrapped_keys.decode(wrapped).kek

    def knows(self, kek: str) -> bool:
        """Every version of the key; which of them Vault still opens is its own business."""
        return kek.startswith(self._prefix)

    def label(self, kek: str) -> str:
        """Mount, key and version."""
        return f"Vault's {kek}" if kek else "key file without a version"

    def _wrapped(self, result: dict[str, Any]) -> bytes:
        text = result.get("ciphertext")
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise Unavailable(f"Vault did not wrap a key: {_reason(result)}", dependency=DEPENDENCY)
        return wrapped_keys.encode(WrappedKey(kek=self._prefix + match[1], body=match[0].encode()))

    def _ciphertext(self, key: bytes) -> str | KalendsError:
        try:
            wrapped = wrapped_keys.decode(key)
        except Damaged as error:
            return error
        if not self.knows(wrapped.kek):
            return Unavailable("some data keys need a key-encryption key that is not Vault's; put its file back", dependency="keys")
        text = wrapped.body.decode("ascii", "replace")
        return text if _FORM.fullmatch(text) else Damaged("a wrapped data key is not what Vault makes")

    async def _batches(self, verb: str, items: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            _, answer = await self._connection.ask(f"{self._mount}/{verb}/{self._key}", {"batch_input": part})
            data = answer.get("data")
            results = data.get("batch_results") if isinstance(data, dict) else None
            if not isinstance(results, list) or len(results) != len(part) or not all(isinstance(one, dict) for one in results):
                raise Unavailable(f"Vault did not {verb}: {_reason(answer)}", dependency=DEPENDENCY)
            found += results
        return found


@asynccontextmanager
async def open_vault(settings: KeysSettings) -> AsyncIterator[VaultWrapper]:
    """The key that *settings* name, closed at the end of the block; nothing is asked yet.

    Raises:
        Misconfigured: a setting is missing or cannot work.
    """
    async with open_client(settings) as client:
        yield VaultWrapper(VaultConnection(client, settings), mount=settings.vault_mount, key=settings.vault_key)


def _opened(result: dict[str, Any]) -> bytes | KalendsError:
    error, text = result.get("error"), result.get("plaintext")
    if error and _TOO_OLD in str(error):
        detail = "Vault does not open this version of its key any more: lower its min_decryption_version until keys were rotated"
        return Unavailable(detail, dependency=DEPENDENCY)
    try:
        key = base64.b64decode(str(text or ""), validate=True)
    except binascii.Error:
        key = b""
    if error or not key:
        return Damaged("a wrapped data key does not open in Vault: its bytes or its place are not what they were")
    return key


def _reason(answer: dict[str, Any]) -> str:
    """Vault's own word, which names no key and no content; shortened."""
    told = answer.get("error") or answer.get("errors") or "it gives no reason"
    return str(told[0] if isinstance(told, list) and told else told)[:200]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()

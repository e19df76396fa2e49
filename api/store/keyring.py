"""The keys that secrets are encrypted with: AES-256-GCM, bound to the organization and the name."""

import hashlib
import os
from collections.abc import Sequence
from uuid import UUID

from api.store.errors import SecretsUnavailable
from db.secrets import Sealed

_NONCE_BYTES = 12
_KEY_ID_CHARACTERS = 16


class Keyring:
    """Several keys: the first encrypts, all of them decrypt."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Each key is 32 random bytes; without any, nothing can be encrypted or decrypted."""
        self._keys = {_id(key): key for key in keys}

    @property
    def key_id(self) -> str:
        """What the key that encrypts is known by.

        Raises:
            SecretsUnavailable: there is no key.
        """
        for key_id in self._keys:
            return key_id
        raise SecretsUnavailable("this installation has no TURNLEDGER_SECRETS_KEY")

    def seal(self, organization_id: UUID, name: str, value: str) -> Sealed:
        """Encrypt a value, so that it opens for this organization and name alone.

        Raises:
            SecretsUnavailable: there is no key.
        """
        # Imported here: it takes longer than all of the command line.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, nonce = self.key_id, os.urandom(_NONCE_BYTES)
        ciphertext = AESGCM(self._keys[key_id]).encrypt(nonce, value.encode(), _bound(organization_id, name))
        return Sealed(organization_id, name, nonce + ciphertext, key_id)

    def open(self, sealed: Sealed) -> str:
        """Decrypt a value.

        Raises:
            SecretsUnavailable: its key is not among ours, or it is not what was encrypted.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._keys.get(sealed.key_id)
        if key is None:
            raise SecretsUnavailable(
                f"the key of the secret `{sealed.name}` is not in TURNLEDGER_SECRETS_KEY"
            )
        nonce, ciphertext = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            bound = _bound(sealed.organization_id, sealed.name)
            return AESGCM(key).decrypt(nonce, ciphertext, bound).decode()
        except (InvalidTag, UnicodeDecodeError) as error:
            raise SecretsUnavailable(f"the secret `{sealed.name}` is not what was stored") from error


def _id(key: bytes) -> str:
    """Not the key, and nothing that leads to it: keys are random."""
    return hashlib.sha256(b"turnledger secrets key " + key).hexdigest()[:_KEY_ID_CHARACTERS]


def _bound(organization_id: UUID, name: str) -> bytes:
    return organization_id.bytes + name.encode()

"""Secrets: what is sent in, and what is shown of them, which is never the value."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta


class PutSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret's value."""

    value: Annotated[str, Meta(min_length=1, max_length=8192)]
    """It can be replaced, and used by tools; nobody is shown it again."""

    def __repr__(self) -> str:
        return "PutSecret(value=***)"


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """A secret without its value."""

    name: str
    """Definitions say `{{secrets.name}}`."""
    created_at: datetime
    updated_at: datetime


class SecretList(msgspec.Struct, frozen=True, kw_only=True):
    """All secrets of the organization, by name."""

    items: tuple[SecretView, ...]

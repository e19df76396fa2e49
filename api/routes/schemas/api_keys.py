"""API keys: what callers send to make and rotate them, and what they get."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from api.routes.schemas.requests import Name
from api.session.document import Actor
from api.store.keys import Key
from api.store.scopes import Scope

OVERLAP_SECONDS_MAX = 30 * 24 * 3600


class CreateKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Make an API key."""

    name: Name
    """What it is for."""
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=20)]
    """What it may be used for; none that the calling key lacks."""
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    """Refused from then on; null for a key without an end."""


class RotateKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Replace the secret of a key."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=OVERLAP_SECONDS_MAX)] = 24 * 3600
    """Time for which the secret before is accepted as well."""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is known after it was shown."""

    id: str
    name: str
    prefix: str
    """The first characters, so that people can tell keys apart."""
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: Actor | None
    """Null for a key that was made before this was kept."""
    expires_at: datetime | None
    """Refused from then on; null for a key without an end."""
    rotated_at: datetime | None
    """When its secret was last replaced."""
    previous_expires_at: datetime | None
    """Until when the secret before that one is accepted as well."""
    last_used_at: datetime | None
    """To a minute or two; null while nobody has used it."""
    revoked_at: datetime | None
    """Null while it is in force."""


class NewKeyView(KeyView, frozen=True, kw_only=True):
    """A key with its new secret."""

    secret: str | None
    """Shown in this answer alone. Null in a repetition: it is not kept, so rotate the key if it was lost."""


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """API keys, newest first."""

    items: tuple[KeyView, ...]
    next_page_token: str | None
    """Where the list goes on; null on its last page."""


def key_view(key: Key) -> KeyView:
    """Show a key."""
    return KeyView(**msgspec.structs.asdict(key))


def new_key_view(key: Key, secret: str | None) -> NewKeyView:
    """Show a key that has just been given a secret, or say again that it was."""
    return NewKeyView(**msgspec.structs.asdict(key), secret=secret)

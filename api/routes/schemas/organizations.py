"""Organizations: what keys of the installation send and get."""

from datetime import datetime

import msgspec

from api.routes.schemas.requests import Name


class CreateOrganization(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Make an organization."""

    name: Name


class OrganizationView(msgspec.Struct, frozen=True, kw_only=True):
    """A paying customer; the boundary of every query."""

    id: str
    name: str
    created_at: datetime


class OrganizationPage(msgspec.Struct, frozen=True, kw_only=True):
    """Organizations, newest first."""

    items: tuple[OrganizationView, ...]
    next_page_token: str | None
    """Where the list goes on; null on its last page."""

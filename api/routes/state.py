"""What the routes work on: the store, the hub, the settings, and the keys that were seen lately."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from api.events import Hub
from api.routes.auth import KeyCache
from api.routes.validation import Limits
from api.settings import Settings
from api.store import Store

Check: TypeAlias = Callable[[], Awaitable[dict[str, bool]]]
"""Looks at what the service needs (`database`, `migrations`) and says of each whether it is there."""


class RoutesState:
    """One for an application, made by the composition root."""

    def __init__(self, *, store: Store, hub: Hub, settings: Settings, check: Check) -> None:
        self.store = store
        self.hub = hub
        self.settings = settings
        self.check = check
        self.is_stopping = False
        """Set when the service stops: calls that wait for a turn answer that it is under way, streams end."""
        self.stream_count = 0
        """Event streams that are served, or about to be."""
        self.keys = KeyCache(store.access.caller_of, seconds=settings.key_cache_seconds)
        self.limits = Limits(
            text_bytes_max=settings.text_bytes_max,
            context_bytes_max=settings.context_bytes_max,
            metadata_bytes_max=settings.metadata_bytes_max,
        )

    def stop(self) -> None:
        """Have everyone who waits answer at once: the service stops."""
        self.is_stopping = True
        self.hub.wake_all()

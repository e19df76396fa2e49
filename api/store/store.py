"""`Store`: all parts of the store over one pool."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from api.events import Hub
from api.store.access import Access
from api.store.agents import Agents
from api.store.approval_rules import ApprovalRules
from api.store.approvals import Approvals
from api.store.archiving import Archiving
from api.store.base import utc_now
from api.store.budgets import Budgets
from api.store.corrections import Corrections
from api.store.doctor import Doctor
from api.store.exporting import Exporting
from api.store.importing import Importing
from api.store.interactions import Interactions
from api.store.key_limits import KeyLimiting
from api.store.keyring import Keyring
from api.store.metrics import Metrics
from api.store.organization_settings import OrganizationSettings
from api.store.prices import Prices
from api.store.reading import Readings
from api.store.retention import Retention
from api.store.running import Running
from api.store.secrets import Secrets
from api.store.sessions import Sessions
from api.store.streaming import Streaming
from api.store.summaries import Summaries
from db.pool import Pool


class Store:
    """Load, command, commit. One for a process; safe to share between tasks."""

    def __init__(
        self,
        pool: Pool,
        hub: Hub,
        *,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], UUID] = uuid7,
        secrets_keys: Sequence[bytes] = (),
    ) -> None:
        """`secrets_keys` encrypt the secrets of organizations; without any there are none."""
        self.budgets = Budgets(pool, hub, clock=clock, new_id=new_id)
        self.sessions = Sessions(pool, hub, clock=clock, new_id=new_id, budgets=self.budgets)
        self.reading = Readings(pool, hub, clock=clock, new_id=new_id)
        self.streaming = Streaming(pool, hub, clock=clock, new_id=new_id)
        self.running = Running(pool, hub, clock=clock, new_id=new_id)
        self.approvals = Approvals(pool, hub, clock=clock, new_id=new_id, budgets=self.budgets)
        self.approval_rules = ApprovalRules(pool, hub, clock=clock, new_id=new_id)
        self.agents = Agents(pool, hub, clock=clock, new_id=new_id)
        self.access = Access(pool, hub, clock=clock, new_id=new_id)
        self.key_limits = KeyLimiting(pool, hub, clock=clock, new_id=new_id)
        self.exporting = Exporting(pool, hub, clock=clock, new_id=new_id)
        self.importing = Importing(pool, hub, clock=clock, new_id=new_id)
        self.retention = Retention(pool, hub, clock=clock, new_id=new_id)
        self.archiving = Archiving(pool, hub, clock=clock, new_id=new_id)
        self.corrections = Corrections(pool, hub, clock=clock, new_id=new_id)
        self.prices = Prices(pool, hub, clock=clock, new_id=new_id)
        self.metrics = Metrics(pool, hub, clock=clock, new_id=new_id)
        self.summaries = Summaries(pool, hub, clock=clock, new_id=new_id)
        self.secrets = Secrets(pool, hub, clock=clock, new_id=new_id, keyring=Keyring(secrets_keys))
        self.organization_settings = OrganizationSettings(pool, hub, clock=clock, new_id=new_id)
        self.interactions = Interactions(pool, hub, clock=clock, new_id=new_id)
        self.doctor = Doctor(pool, hub, clock=clock, new_id=new_id)

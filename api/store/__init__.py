"""The one place that holds both the core and the database: load, command, commit.

    sessions    the commands, each under a revision check, in one transaction with its event and its key
    reading     the document, its pages and previews
    running     claim, steps, settlement, publish: what a runner does
    approvals   what people are asked and decide; approval_rules: what an organization has settled once
    agents      agents and their versions
    interactions   the audit of model calls
    corrections entries of the ledger one by one, and their corrections by people
    summaries   sums over the ledger
    prices      the organization's own price list
    metrics     figures of conversations
    budgets     what may be spent, and who is let in
    secrets     what tools need to be let in elsewhere, encrypted
    organization_settings   what the operator has set for one organization
    access      organizations and their API keys; installation: keys of no organization
    retention   how long text is kept
    exporting   a session whole as a file; importing: such a file into another installation

`Store` bundles them over one pool.
"""

from api.store.base import Caller, Delta, Done, Idempotency, Replay, StoredAnswer
from api.store.errors import KeyReused, NotFound, RequestInFlight, RevisionConflict
from api.store.store import Store

__all__ = [
    "Caller",
    "Delta",
    "Done",
    "Idempotency",
    "KeyReused",
    "NotFound",
    "Replay",
    "RequestInFlight",
    "RevisionConflict",
    "Store",
    "StoredAnswer",
]

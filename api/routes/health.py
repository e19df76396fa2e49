"""Whether the service is up, for probes; answered without a key."""

import asyncio
from typing import Protocol

from litestar import Response

from api.routes.answers import respond
from api.routes.errors import Unavailable
from api.routes.operations import Answer, operation
from api.routes.schemas.health import Health
from api.routes.state import Check

CHECK_SECONDS_MAX = 5
"""A check that takes longer has failed."""


class Checked(Protocol):
    """What can be asked whether it has what it needs: a service, or a worker."""

    check: Check


@operation(
    "GET",
    "/health/live",
    operation_id="getLiveness",
    tag="health",
    summary="Is the process up?",
    answers={200: Answer(description="It is.", struct=Health)},
    is_public=True,
)
async def get_liveness(_: Checked) -> Response[bytes]:
    """Being asked is the whole check."""
    return respond(Health(ok=True, checks={}))


@operation(
    "GET",
    "/health/ready",
    operation_id="getReadiness",
    tag="health",
    summary="Can it do its work?",
    answers={200: Answer(description="It can.", struct=Health)},
    is_public=True,
)
async def get_readiness(state: Checked) -> Response[bytes]:
    """The database answers, takes writes and has the schema that this release needs; else 503."""
    async with asyncio.timeout(CHECK_SECONDS_MAX):
        checks = await state.check()
    if not all(checks.values()):
        failed = ", ".join(sorted(name for name, is_good in checks.items() if not is_good))
        raise Unavailable(f"Not ready: {failed}.")
    return respond(Health(ok=True, checks=checks))


OPERATIONS = (get_liveness, get_readiness)

"""Organizations: made and listed by keys of the installation."""

import msgspec
from litestar import Response

from api.routes import headers
from api.routes.answers import respond, respond_stored
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.paging import read_uuid, write_page_token
from api.routes.schemas.organizations import CreateOrganization, OrganizationPage, OrganizationView
from api.routes.schemas.queries import PageQuery
from api.store import Replay, StoredAnswer
from api.store.installation import Organization


@operation(
    "POST",
    "/v1/organizations",
    operation_id="createOrganization",
    tag="organizations",
    summary="Make an organization",
    callers="installation",
    body=CreateOrganization,
    answers={
        201: Answer(
            description="The new organization.",
            struct=OrganizationView,
            headers=(headers.LOCATION, headers.IDEMPOTENCY_REPLAYED),
        )
    },
)
async def create_organization(call: Call) -> Response[bytes]:
    """It has an empty ledger and no keys: `POST /v1/api-keys?organization=` makes its first."""
    command = await call.command(CreateOrganization)
    result = await call.store.access.make_organization(
        command.caller, name=command.body.name, idempotency=command.idempotency, render=_render
    )
    if isinstance(result, Replay):
        assert result.answer is not None, "organizations are never removed"
        return respond_stored(result.answer, is_replayed=True)
    return respond_stored(result)


@operation(
    "GET",
    "/v1/organizations",
    operation_id="listOrganizations",
    tag="organizations",
    summary="List the organizations",
    callers="installation",
    query=PageQuery,
    answers={200: Answer(description="A page of organizations.", struct=OrganizationPage)},
)
async def list_organizations(call: Call) -> Response[bytes]:
    """Newest first."""
    query = call.query(PageQuery)
    found = await call.store.access.organization_page(
        before=None if query.page_token is None else read_uuid(query.page_token, scope="organizations"),
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    next_token = write_page_token(page[-1][0], scope="organizations") if len(found) > len(page) else None
    return respond(OrganizationPage(items=tuple(_view(one) for _, one in page), next_page_token=next_token))


@operation(
    "GET",
    "/v1/organizations/{organization_id}",
    operation_id="getOrganization",
    tag="organizations",
    summary="Read an organization",
    callers="installation",
    answers={200: Answer(description="The organization.", struct=OrganizationView)},
)
async def get_organization(call: Call) -> Response[bytes]:
    """Its name, and when it was made."""
    return respond(_view(await call.store.access.organization(call.path("organization_id"))))


OPERATIONS = (create_organization, list_organizations, get_organization)


def _view(organization: Organization) -> OrganizationView:
    return OrganizationView(**msgspec.structs.asdict(organization))


def _render(organization: Organization) -> StoredAnswer:
    return StoredAnswer(
        status=201,
        headers={"Location": f"/v1/organizations/{organization.id}"},
        body=msgspec.json.encode(_view(organization)),
    )

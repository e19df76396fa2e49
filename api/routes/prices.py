"""The organization's own prices."""

from collections import Counter

from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.errors import Invalid
from api.routes.operations import Answer, operation
from api.routes.paging import read_integer, write_page_token
from api.routes.problems import Fault
from api.routes.schemas.prices import PricePage, PriceView, PutPrice, price_asked, price_view
from api.routes.schemas.queries import PriceListQuery
from api.store.base import utc_now
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/prices",
    operation_id="listPrices",
    scopes=(Scope.USAGE_READ,),
    tag="usage",
    summary="List the organization's own prices",
    query=PriceListQuery,
    answers={200: Answer(description="A page of prices.", struct=PricePage)},
)
async def list_prices(call: Call) -> Response[bytes]:
    """By provider and pattern, the newest of each first.

    Models without a price here are charged by public lists.
    """
    query = call.query(PriceListQuery)
    scope = f"prices?{query.provider}"
    offset = 0 if query.page_token is None else read_integer(query.page_token, scope=scope)
    found = await call.store.prices.prices(
        call.caller, provider=query.provider, offset=offset, limit=query.limit + 1
    )
    is_more = len(found) > query.limit
    return respond(
        PricePage(
            items=tuple(price_view(price) for price in found[: query.limit]),
            next_page_token=write_page_token(offset + query.limit, scope=scope) if is_more else None,
        )
    )


@operation(
    "PUT",
    "/v1/prices",
    operation_id="putPrice",
    scopes=(Scope.ADMIN,),
    tag="usage",
    summary="Set what a model costs from an instant on",
    body=PutPrice,
    answers={200: Answer(description="The price, as it is in the list.", struct=PriceView)},
    problems=(409,),
)
async def put_price(call: Call) -> Response[bytes]:
    """Follow the newest price of a pattern by another; the same price again changes nothing.

    Entries of the ledger keep the prices that they were charged by, so a price begins now or later, and after
    the newest of its pattern.
    """
    command = await call.command(PutPrice)
    body = command.body
    counts = Counter(tier.above_input_tokens for tier in body.tiers or ())
    if any(count > 1 for count in counts.values()):
        fault = Fault(pointer="/tiers", message="has two tiers that begin alike", code="repeated")
        raise Invalid((fault,))
    try:
        asked = price_asked(body, now=utc_now())
    except OverflowError as error:
        fault = Fault(pointer="/valid_from", message="is out of range", code="out-of-range")
        raise Invalid((fault,)) from error
    price = await call.store.prices.put(command.caller, asked, begins_now=body.valid_from is None)
    return respond(price_view(price))


OPERATIONS = (list_prices, put_price)

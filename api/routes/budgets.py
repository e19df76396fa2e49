"""Budgets: what the organization, or one of its keys, may spend."""

from decimal import Decimal

from litestar import Response

from api.routes.answers import respond
from api.routes.calls import Call
from api.routes.operations import Answer, operation
from api.routes.schemas.budgets import BudgetList, BudgetView, PutBudget, budget_view
from api.routes.schemas.queries import BudgetQuery
from api.store.scopes import Scope


@operation(
    "GET",
    "/v1/budgets",
    operation_id="listBudgets",
    scopes=(Scope.USAGE_READ,),
    tag="usage",
    summary="Read the budgets as they stand",
    answers={200: Answer(description="Every budget of the organization.", struct=BudgetList)},
)
async def list_budgets(call: Call) -> Response[bytes]:
    """What is spent, what is reserved for calls under way, and when it resets."""
    found = await call.store.budgets.budgets(call.caller)
    return respond(BudgetList(items=tuple(budget_view(budget) for budget in found)))


@operation(
    "PUT",
    "/v1/budgets",
    operation_id="putBudget",
    scopes=(Scope.ADMIN,),
    tag="usage",
    summary="Set a budget",
    body=PutBudget,
    answers={200: Answer(description="The budget as it stands.", struct=BudgetView)},
    problems=(404,),
)
async def put_budget(call: Call) -> Response[bytes]:
    """In the place of the one for the same key and period. What was spent since the period began counts."""
    command = await call.command(PutBudget)
    body = command.body
    await call.store.summaries.require_time_zone(body.time_zone)
    budget = await call.store.budgets.put(
        command.caller,
        key_id=body.key_id,
        period=body.period,
        time_zone=body.time_zone,
        limit=None if body.limit is None else Decimal(body.limit),
        warn_at=None if body.warn_at is None else Decimal(body.warn_at),
        reserve_per_call=Decimal(body.reserve_per_call),
    )
    return respond(budget_view(budget))


@operation(
    "DELETE",
    "/v1/budgets",
    operation_id="deleteBudget",
    scopes=(Scope.ADMIN,),
    tag="usage",
    summary="Remove a budget",
    query=BudgetQuery,
    answers={204: Answer(description="It is gone.")},
    problems=(404,),
)
async def delete_budget(call: Call) -> Response[bytes]:
    """The one of this period and key, or of this period and all of the organization."""
    command, query = call.bare_command(), call.query(BudgetQuery)
    await call.store.budgets.delete(command.caller, key_id=query.key_id, period=query.period)
    return Response(content=b"", status_code=204)


OPERATIONS = (list_budgets, put_budget, delete_budget)

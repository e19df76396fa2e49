"""Seeded faults: each replaces a few lines of the product by ones that break a promise; all must be caught.

They are edits of the source, applied by `tests.chaos.process` while a module is loaded. An edit whose lines
are no longer there is an error, so that a mutant cannot fade into a run of the right code.
"""

import msgspec


class Edit(msgspec.Struct, frozen=True):
    """Lines of a module, and what stands in their place."""

    module: str
    old: str
    new: str


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One seeded fault."""

    name: str
    breaks: str
    """What it does, in words for the table."""
    edits: tuple[Edit, ...]
    sql: str = ""
    """Takes a second line of defence out of the schema, which would catch the fault by itself."""
    scenario: str
    """The run that must catch it; see `tests.chaos.scenarios`."""


class EditDoesNotFit(Exception):
    """The lines that a mutant replaces are not in the module, or not once."""


def applied(source: str, edits: tuple[Edit, ...]) -> str:
    """Make the faulty source.

    Raises:
        EditDoesNotFit: the product has changed, and the mutant must follow it.
    """
    for edit in edits:
        if source.count(edit.old) != 1:
            raise EditDoesNotFit(f"{edit.module}: {source.count(edit.old)} times: {edit.old!r}")
        source = source.replace(edit.old, edit.new)
    return source


_ALL = (
    Mutant(
        name="no-revision-predicate",
        breaks="the swap accepts a revision that has moved",
        edits=(Edit("db.commits", "AND revision = $3 AND deleted_at", "AND revision >= $3 AND deleted_at"),),
        scenario="crowd",
    ),
    Mutant(
        name="no-epoch-check",
        breaks="a run that lost its turn may publish",
        edits=(
            Edit("db.commits", "OR epoch = $4)", "OR epoch >= $4)"),
            Edit(
                "api.store.running",
                "if loaded is None or loaded.epoch != claim.epoch:\n            return False\n"
                "        steps, spent",
                "if loaded is None:\n            return False\n        steps, spent",
            ),
        ),
        scenario="zombies",
    ),
    Mutant(
        name="usage-only-when-the-swap-wins",
        breaks="what a call cost is written when its turn is published",
        edits=(
            Edit("api.store.running", "_CLAIM_ATTEMPTS_MAX = 4\n", "_CLAIM_ATTEMPTS_MAX = 4\n_due = {}\n"),
            Edit(
                "api.store.running",
                "        return await retry_serialization(attempt)\n\n    async def publish(",
                "        _due.setdefault(claim.run_id, []).append(attempt)\n        return True\n\n"
                "    async def publish(",
            ),
            Edit(
                "api.store.running",
                "        is_published = await retry_serialization(attempt)\n",
                "        is_published = await retry_serialization(attempt)\n"
                "        for settle in _due.pop(claim.run_id, []) if is_published else ():\n"
                "            await retry_serialization(settle)\n",
            ),
        ),
        scenario="cancels",
    ),
    Mutant(
        name="signs-are-the-only-delivery",
        breaks="runners wait for a sign and never look by themselves",
        edits=(
            Edit(
                "api.runner.loop",
                "listener.wait(seconds_max=self._limits.poll_seconds)",
                "listener.wait(seconds_max=3600)",
            ),
        ),
        scenario="deaths",
    ),
    Mutant(
        name="precondition-before-idempotency",
        breaks="a repetition is refused as stale before its key is looked up",
        edits=(
            Edit(
                "api.store.commit",
                "            replay = await self._replay(conn, caller, idempotency)\n"
                "            if replay is not None:\n                return replay\n"
                "            if expected is not None:\n                # Staleness",
                "            if expected is not None:\n                # Staleness",
            ),
        ),
        scenario="lost-answers",
    ),
    Mutant(
        name="key-is-not-kept",
        breaks="the idempotency key does not commit with the change",
        edits=(
            Edit(
                "db.commits",
                "FROM swapped WHERE $31::text IS NOT NULL",
                "FROM swapped WHERE $31::text IS NOT NULL AND false",
            ),
        ),
        scenario="lost-answers",
    ),
    Mutant(
        name="synchronous-commit-off",
        breaks="commits are acknowledged before they are on the disk",
        edits=(Edit("db.pool", '"jit": "off",', '"jit": "off", "synchronous_commit": "off",'),),
        scenario="power-cuts",
    ),
    Mutant(
        name="cancel-does-not-revoke",
        breaks="a cancel leaves the run its epoch and its turn",
        edits=(
            Edit("db.commits", "epoch = epoch + $5", "epoch = epoch + 0 * $5"),
            Edit(
                "db.commits",
                "r.turn_id = ANY($26::uuid[]) AND r.state = 'running'",
                "r.turn_id = ANY($26::uuid[]) AND r.state = 'running' AND $5 = 0",
            ),
        ),
        scenario="cancels",
    ),
    Mutant(
        name="settles-twice",
        breaks="a call that is settled may be settled again",
        edits=(
            Edit(
                "db.usage",
                "WHERE organization_id = $1 AND id = $2 AND state = 'started'",
                "WHERE organization_id = $1 AND id = $2",
            ),
        ),
        sql="DROP INDEX usage_entries_original",
        scenario="zombies",
    ),
    Mutant(
        name="finished-call-is-repeated",
        breaks="a take-over makes a call again that had come to its end",
        edits=(
            Edit(
                "api.prompt.progress",
                "    if result is not None:\n",
                "    if result is not None and is_tool:\n",
            ),
        ),
        scenario="deaths-before-the-commit",
    ),
    Mutant(
        name="lease-never-ends",
        breaks="nobody takes the turn of a dead runner over",
        edits=(
            Edit(
                "db.runs",
                "COALESCE((SELECT r.lease_expires_at FROM runs r",
                "COALESCE((SELECT 'infinity'::timestamptz FROM runs r",
            ),
        ),
        scenario="deaths",
    ),
    Mutant(
        name="zombie-still-shows",
        breaks="a run that lost its turn may add to what readers see",
        edits=(
            Edit(
                "db.deltas",
                "organization_id, session_id, turn_id, id FROM hold_runs($1::uuid[], $2::uuid[])\n",
                "r.organization_id, r.session_id, r.turn_id, r.id FROM runs r\n"
                "      JOIN (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[]) AS f(o, i)) f\n"
                "        ON f.o = r.organization_id AND f.i = r.id\n",
            ),
        ),
        scenario="silent-zombies",
    ),
    Mutant(
        name="delta-delivered-before-it-is-stored",
        breaks="readers are given text that the disk does not have yet",
        edits=(
            Edit(
                "api.store.running",
                "            held = await deltas.flush(conn, pieces, at=self._clock())\n",
                "            async with conn.transaction():\n"
                "                await conn.execute('SET LOCAL synchronous_commit TO off')\n"
                "                held = await deltas.flush(conn, pieces, at=self._clock())\n",
            ),
        ),
        scenario="cut-streams",
    ),
    Mutant(
        name="an-approval-is-not-used-up",
        breaks="an approved call is made under a step of its own, so the approval stays good",
        edits=(
            Edit(
                "api.runner.tool_calls",
                "        step_id = ids.from_wire(ids.Kind.STEP, approval.step_id)\n",
                "        step_id = self._store.running.new_step_id()\n",
            ),
        ),
        scenario="tools",
    ),
    Mutant(
        name="once-is-made-again",
        breaks="a call that may be made once, and of whose end nobody knows, is made again unasked",
        edits=(
            Edit(
                "api.runner.tool_calls",
                "        if request.effect == ToolEffect.ONCE:\n",
                "        if request.effect == ToolEffect.ONCE and False:\n",
            ),
        ),
        scenario="tools",
    ),
    Mutant(
        name="a-denial-does-not-hold",
        breaks="a call is made whatever was decided about it",
        edits=(
            Edit(
                "api.prompt.progress",
                "approval.decision is Decision.DENIED else None",
                "approval.decision is None else None",
            ),
            Edit("api.runner.tool_calls", "approval.decision is Decision.APPROVED, ", "approval.decision, "),
        ),
        scenario="tools",
    ),
    Mutant(
        name="a-repetition-has-a-key-of-its-own",
        breaks="a call that is made again carries another idempotency key",
        edits=(
            Edit(
                "api.runner.tool_calls",
                "idempotency_key=idempotency_key(run.work.turn.id, request)",
                "idempotency_key=str(step_id)",
            ),
        ),
        scenario="tools",
    ),
)

MUTANTS = {mutant.name: mutant for mutant in _ALL}
"""By name."""

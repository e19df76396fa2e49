"""Secrets at rest: encrypted, bound to organization and name, rotated without anybody noticing."""

import asyncio

import pytest

from api.events import Hub
from api.store import NotFound, Store
from api.store.errors import SecretsUnavailable, TooManySecrets
from api.store.keyring import Keyring
from api.store.secrets import SECRETS_MAX
from db.pool import Pool
from tests.factories import SECRETS_KEY, make_world

CANARY = "canary-4711-word"
OLD, NEW = SECRETS_KEY, bytes(32)


async def test_a_secret_is_stored_replaced_listed_and_removed(pool: Pool) -> None:
    world = await make_world(pool)
    secrets, caller = world.store.secrets, world.caller

    first = await secrets.put(caller, "crm", "one")
    second = await secrets.put(caller, "crm", CANARY)
    await secrets.put(caller, "erp", "two")

    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert [secret.name for secret in await secrets.secrets(caller)] == ["crm", "erp"]
    assert await secrets.values(caller.organization_id, ["crm", "gone"]) == {"crm": CANARY}
    await secrets.delete(caller, "crm")
    assert await secrets.values(caller.organization_id, ["crm"]) == {}
    with pytest.raises(NotFound):
        await secrets.delete(caller, "crm")


async def test_the_database_holds_no_word_of_it(pool: Pool) -> None:
    world = await make_world(pool)
    await world.store.secrets.put(world.caller, "crm", CANARY)

    row = await pool.fetchrow("SELECT * FROM secrets")

    assert CANARY.encode() not in row["ciphertext"]
    assert CANARY not in repr(row)
    assert row["key_id"] not in (OLD.hex(), "")


async def test_the_same_value_is_never_the_same_ciphertext(pool: Pool) -> None:
    world = await make_world(pool)
    found = set()
    for _ in range(2):
        await world.store.secrets.put(world.caller, "crm", CANARY)
        found.add(await pool.fetchval("SELECT ciphertext FROM secrets"))

    assert len(found) == 2


@pytest.mark.parametrize("moved", ["name", "organization_id"])
async def test_ciphertext_that_was_moved_does_not_open(pool: Pool, moved: str) -> None:
    world, other = await make_world(pool), await make_world(pool, name="Other")
    await world.store.secrets.put(world.caller, "crm", CANARY)
    organization_id, name = world.caller.organization_id, "crm"
    if moved == "name":
        name = "erp"
        await pool.execute("UPDATE secrets SET name = 'erp'")
    else:
        organization_id = other.caller.organization_id
        await pool.execute("UPDATE secrets SET organization_id = $1", organization_id)

    with pytest.raises(SecretsUnavailable, match="is not what was stored"):
        await world.store.secrets.values(organization_id, [name])


async def test_ciphertext_that_was_changed_does_not_open(pool: Pool) -> None:
    world = await make_world(pool)
    await world.store.secrets.put(world.caller, "crm", CANARY)
    await pool.execute(
        "UPDATE secrets SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)"
    )

    with pytest.raises(SecretsUnavailable):
        await world.store.secrets.values(world.caller.organization_id, ["crm"])


async def test_another_organization_has_none_of_it(pool: Pool) -> None:
    world, other = await make_world(pool), await make_world(pool, name="Other")
    await world.store.secrets.put(world.caller, "crm", CANARY)

    assert await other.store.secrets.values(other.caller.organization_id, ["crm"]) == {}
    assert await other.store.secrets.secrets(other.caller) == []
    with pytest.raises(NotFound):
        await other.store.secrets.delete(other.caller, "crm")
    assert await world.store.secrets.values(world.caller.organization_id, ["crm"]) == {"crm": CANARY}


@pytest.mark.parametrize("name", ["", "1", "a b", "a.b", "é", "a" * 65, "-a", "a\x00"])
async def test_a_name_that_no_definition_can_say_is_not_there(pool: Pool, name: str) -> None:
    world = await make_world(pool)

    with pytest.raises(NotFound):
        await world.store.secrets.put(world.caller, name, "x")
    with pytest.raises(NotFound):
        await world.store.secrets.delete(world.caller, name)


async def test_there_are_so_many_and_no_more(pool: Pool) -> None:
    world = await make_world(pool)
    for number in range(SECRETS_MAX):
        await world.store.secrets.put(world.caller, f"n{number}", "x")

    with pytest.raises(TooManySecrets):
        await world.store.secrets.put(world.caller, "more", "x")

    await world.store.secrets.put(world.caller, "n0", "y")
    assert len(await world.store.secrets.secrets(world.caller)) == SECRETS_MAX


async def test_without_a_key_nothing_is_stored(pool: Pool) -> None:
    world = await make_world(pool)
    without = Store(pool, Hub())

    with pytest.raises(SecretsUnavailable, match="TURNLEDGER_SECRETS_KEY"):
        await without.secrets.put(world.caller, "crm", CANARY)

    assert await pool.fetchval("SELECT count(*) FROM secrets") == 0


async def test_a_rotation_encrypts_everything_with_the_first_key(pool: Pool) -> None:
    worlds = [await make_world(pool), await make_world(pool, name="Other")]
    for world in worlds:
        for number in range(120):
            await world.store.secrets.put(world.caller, f"n{number}", f"{CANARY}{number}")
    both, alone = Store(pool, Hub(), secrets_keys=(NEW, OLD)), Store(pool, Hub(), secrets_keys=(NEW,))
    organization_id = worlds[1].caller.organization_id
    assert await both.secrets.values(organization_id, ["n7"]) == {"n7": f"{CANARY}7"}
    with pytest.raises(SecretsUnavailable, match="is not in TURNLEDGER_SECRETS_KEY"):
        await alone.secrets.values(organization_id, ["n7"])

    assert await both.secrets.rotate() == 240

    assert await alone.secrets.values(organization_id, ["n7"]) == {"n7": f"{CANARY}7"}
    assert await both.secrets.rotate() == 0
    assert await pool.fetch("SELECT DISTINCT key_id FROM secrets") == [(Keyring((NEW,)).key_id,)]


async def test_a_rotation_undoes_no_change_that_happens_beside_it(pool: Pool) -> None:
    world = await make_world(pool)
    both = Store(pool, Hub(), secrets_keys=(NEW, OLD))
    for number in range(30):
        await world.store.secrets.put(world.caller, f"n{number}", "old")

    async def replace(number: int) -> None:
        await both.secrets.put(world.caller, f"n{number}", "new")

    await asyncio.gather(both.secrets.rotate(), *(replace(number) for number in range(30)))

    names = [f"n{number}" for number in range(30)]
    assert set((await both.secrets.values(world.caller.organization_id, names)).values()) == {"new"}

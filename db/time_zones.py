"""The time zones that the server knows, by their IANA names."""

from db.pool import Connection

_NAMES = """
SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix%' AND name NOT LIKE 'right%'
"""


async def names(conn: Connection) -> frozenset[str]:
    """Read all names; the server looks through its files for this, so ask once."""
    return frozenset(row[0] for row in await conn.fetch(_NAMES))

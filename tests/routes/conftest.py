"""What tests of the routes may ask for: calls that work behind one wall, or behind two."""

from collections.abc import AsyncIterator

import pytest

from db.row_security import open_application_pool
from tests.routes import service


@pytest.fixture(params=["one wall", "two walls"])
async def walls(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[None]:
    """Run the test without and with row-level security."""
    if request.param == "one wall":
        yield
        return
    async with await open_application_pool(database_url, size_max=10) as pool:
        service.WALLED.append(pool)
        try:
            yield
        finally:
            service.WALLED.remove(pool)

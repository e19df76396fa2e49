"""An organization says how long its text is kept."""

from db.pool import Pool
from tests.routes.service import serving


async def test_text_is_kept_until_somebody_says_otherwise(pool: Pool) -> None:
    async with serving(pool) as api, serving(pool) as other:
        before = await api.get("/v1/organization/retention")
        put = await api.call("PUT", "/v1/organization/retention", {"content_days": 30})
        after = await api.get("/v1/organization/retention")
        others = await other.get("/v1/organization/retention")
        taken_back = await api.call("PUT", "/v1/organization/retention", {"content_days": None})

    assert before == others == {"content_days": None, "set_at": None, "set_by": None}
    assert put.json() == after
    assert after["content_days"] == 30
    assert after["set_by"]["key_id"].startswith("key_")
    assert taken_back.json()["content_days"] is None

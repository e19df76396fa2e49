"""How soon the panel shows a conversation and can be used, by its length; and how it scrolls.

    python -m bench.panel

A real Chromium, cold for every visit (nothing cached), opens a session's address on `turnledger serve` on
the same machine. First paint is the browser's own `first-contentful-paint`. Interactive is when the last turn
stands there and the message field has the focus. Visits to sessions of three lengths are interleaved.
"""

from statistics import median

from playwright.async_api import Browser

from api.events import Hub
from api.session import ids
from api.store import Store
from bench.database import bench_database
from bench.report import ROUNDS, run, show
from bench.service import Service, running
from bench.tenants import make_tenants, open_sessions
from db.pool import open_pool
from tests.panel.chromium import launched

_TURN_COUNTS = (10, 1_000, 10_000)
_INTERACTIVE_MS_MAX = 2_000
_SCROLL_STEPS = 120
_KEEP_KEY = "sessionStorage.setItem('turnledger.key', {key!r})"

_ARRIVED = """async (last) => {
  const lastTurn = `[data-position="${last}"] .prose`;
  const isThere = () => document.querySelector(lastTurn) !== null && document.activeElement?.id === "draft";
  while (!isThere()) await new Promise((resolve) => requestAnimationFrame(resolve));
  const interactive = performance.now();
  const paints = performance.getEntriesByType("paint");
  return [paints.find((entry) => entry.name === "first-contentful-paint").startTime, interactive];
}"""

_SCROLL = """async (steps) => {
  const scroller = document.querySelector(".scroller");
  const frames = [];
  let before = performance.now();
  for (let step = 0; step < steps; step += 1) {
    scroller.scrollTop -= 240;
    await new Promise((resolve) => requestAnimationFrame(resolve));
    const now = performance.now();
    frames.push(now - before);
    before = now;
  }
  return frames;
}"""


async def main() -> bool:
    """Measure and print; answers whether the bar holds."""
    async with bench_database() as database, launched() as browser:
        async with await open_pool(database.dsn, size_max=2) as pool:
            tenants = await make_tenants(Store(pool, Hub()), 1)
            sessions = {
                count: (await open_sessions(pool, tenants, count=1, turn_count=count))[0]
                for count in _TURN_COUNTS
            }
        async with running(database.dsn) as service:
            visits: dict[int, list[tuple[float, float, list[float]]]] = {count: [] for count in _TURN_COUNTS}
            for round_number in range(ROUNDS + 1):
                for count, session in sessions.items():
                    session_id = ids.to_wire(ids.Kind.SESSION, session.id)
                    seen = await _visit(browser, service, tenants[0].secret, session_id, turn_count=count)
                    # The first round warms the service up.
                    if round_number > 0:
                        visits[count].append(seen)
    return _report(visits)


async def _visit(
    browser: Browser, service: Service, key: str, session_id: str, *, turn_count: int
) -> tuple[float, float, list[float]]:
    """Open a session in a browser that has seen nothing yet: first paint, interactive, frames, in ms."""
    context = await browser.new_context(viewport={"width": 1360, "height": 860})
    try:
        await context.add_init_script(_KEEP_KEY.format(key=key))
        page = await context.new_page()
        await page.goto(f"http://{service.host}:{service.port}/#/sessions/{session_id}", wait_until="commit")
        first_paint, interactive = await page.evaluate(_ARRIVED, turn_count - 1)
        frames = await page.evaluate(_SCROLL, _SCROLL_STEPS)
        return first_paint, interactive, frames
    finally:
        await context.close()


def _report(visits: dict[int, list[tuple[float, float, list[float]]]]) -> bool:
    lines = []
    for count, seen in visits.items():
        frames = sorted(frame for _, _, each in seen for frame in each)
        first_paint, interactive = median(one[0] for one in seen), median(one[1] for one in seen)
        late = frames[len(frames) * 99 // 100]
        lines.append((f"{count:,} turns", first_paint, interactive, median(frames), late))
    show(
        f"The panel, cold, in ms; interactive at most {_INTERACTIVE_MS_MAX:,}",
        ["", "first paint", "interactive", "frame, median", "frame, 99 of 100"],
        lines,
    )
    return all(interactive <= _INTERACTIVE_MS_MAX for _, _, interactive, _, _ in lines)


if __name__ == "__main__":
    run(main)

"""What axe-core finds on a page."""

from pathlib import Path
from typing import Any

from tests.panel.person import Person

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
RUN = """async () => {
  // What is still fading in has colours that nobody will read.
  const fading = document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity);
  await Promise.all(fading.map((one) => one.finished));
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations } = await axe.run(document, { runOnly: tags, resultTypes: ["violations"] });
  return violations.map(({ id, impact, nodes }) => ({
    id, impact, nodes: nodes.map((node) => [node.html.slice(0, 200), node.failureSummary]),
  }));
}"""


async def faults(person: Person) -> list[Any]:
    """What axe finds serious or critical."""
    if await person.page.evaluate("() => window.axe === undefined"):
        await person.page.evaluate(AXE)
    found: list[dict[str, Any]] = await person.page.evaluate(RUN)
    return [fault for fault in found if fault["impact"] in ("serious", "critical")]

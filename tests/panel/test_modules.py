"""What the panel computes by itself, run where it runs: Markdown, differences, amounts, heights, the tree."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from api.routes.panel import load_panel
from tests.e2e.services import ServiceProcess

Run = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
async def page(browser: Browser, service: ServiceProcess) -> AsyncIterator[Page]:
    """One page for all of these tests: what they call keeps nothing."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(service.address)
    yield page
    await context.close()


@pytest.fixture
def run(page: Page) -> Run:
    """Calls a function of a module with plain values."""

    async def call(module: str, function: str, *arguments: Any) -> Any:
        return await evaluate(page, module, f"m => m.{function}(...given)", arguments)

    return call


async def evaluate(page: Page, module: str, body: str, given: Any = None) -> Any:
    """Run some words of JavaScript on a module."""
    path = f"/panel/{load_panel().edition}/model/{module}.js"
    return await page.evaluate(f"async ([path, given]) => ({body})(await import(path))", [path, given])


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("plain", [{"type": "paragraph", "children": [{"type": "text", "text": "plain"}]}]),
        ("<b>x</b>", [{"type": "paragraph", "children": [{"type": "text", "text": "<b>x</b>"}]}]),
        ("---", [{"type": "rule"}]),
        ("```js\na < b\n```", [{"type": "code", "language": "js", "text": "a < b"}]),
        ("```\nstill open", [{"type": "code", "language": "", "text": "still open"}]),
        (
            "snake_case_name and 2 * 3 * 4",
            [{"type": "paragraph", "children": [{"type": "text", "text": "snake_case_name and 2 * 3 * 4"}]}],
        ),
        (
            "![pixel](https://example.org/p.png)",
            [
                {
                    "type": "paragraph",
                    "children": [
                        {
                            "type": "link",
                            "href": "https://example.org/p.png",
                            "children": [{"type": "text", "text": "pixel"}],
                        }
                    ],
                }
            ],
        ),
    ],
)
async def test_markdown_becomes_plain_values(run: Run, text: str, blocks: list[Any]) -> None:
    assert await run("markdown", "parseMarkdown", text) == blocks


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "//x.example", "/v1"],
)
async def test_only_addresses_that_lead_somewhere_become_links(run: Run, address: str) -> None:
    assert await run("markdown", "safeHref", address) is None


async def test_hostile_markdown_is_read_in_time(page: Page) -> None:
    texts = [
        "*a" * 8_000,
        "[" * 16_000,
        "> " * 8_000,
        "`" * 16_001,
        "- " * 8_000,
        "_a " * 8_000,
        "|a" * 8_000,
        "**" * 8_000,
    ]

    slowest = await evaluate(
        page,
        "markdown",
        """m => Math.max(...given.map((text) => {
             const begun = performance.now();
             m.parseMarkdown(text);
             return performance.now() - begun;
           }))""",
        texts,
    )

    assert slowest < 3_000


async def test_words_that_differ_are_found(run: Run) -> None:
    assert await run("diff", "diffWords", "Your name is Ada.", "Your name is Grace.") == [
        {"kind": "same", "text": "Your name is "},
        {"kind": "left", "text": "Ada"},
        {"kind": "right", "text": "Grace"},
        {"kind": "same", "text": "."},
    ]
    assert await run("diff", "diffWords", "", "new") == [{"kind": "right", "text": "new"}]
    assert await run("diff", "diffWords", "", "") == []


async def test_both_texts_can_be_read_from_the_differences(page: Page) -> None:
    pairs = [["a b c d", "b x d y"], ["äöü 1 2", "äöü 2"], ["x", "y"], ["one  two\n\nthree", "one two three"]]

    wrong = await evaluate(
        page,
        "diff",
        """m => given.filter(([left, right]) => {
             const pieces = m.diffWords(left, right);
             const of = (kinds) => pieces.filter((p) => kinds.includes(p.kind)).map((p) => p.text).join("");
             return of(["same", "left"]) !== left || of(["same", "right"]) !== right;
           })""",
        pairs,
    )

    assert wrong == []


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("12", "$12.00"),
        ("1234567.891", "$1,234,567.89"),
        ("0.5", "$0.50"),
        ("0.000309", "$0.000309"),
        ("0.0000123456", "$0.0000123"),
        ("-0.25", "−$0.25"),
        (None, "unknown"),
    ],
)
async def test_amounts_are_written_so_that_they_say_something(
    run: Run, amount: str | None, shown: str
) -> None:
    assert await run("money", "showAmount", amount) == shown


async def test_amounts_are_added_exactly(run: Run) -> None:
    assert await run("money", "addAmounts", ["0.1", "0.2", None, "1e0".replace("e0", "")]) == "1.3"
    assert await run("money", "subtractAmounts", "0.1", "0.3") == "-0.2"
    assert await run("money", "isAtLeast", "0.30", "0.3") is True


async def test_heights_are_summed_and_found_again(page: Page) -> None:
    wrong = await evaluate(
        page,
        "heights",
        """m => {
          const heights = new m.Heights(1000, 50);
          const real = Array.from({ length: 1000 }, () => 50);
          for (const index of [0, 3, 999, 500, 3]) {
            real[index] = 10 + index;
            heights.set(index, real[index]);
          }
          let top = 0;
          const wrong = [];
          for (let index = 0; index < 1000; index += 1) {
            const bottom = top + real[index] - 1;
            const isRight = heights.find(top) === index && heights.find(bottom) === index;
            if (!isRight || heights.offset(index) !== top) wrong.push(index);
            top += real[index];
          }
          if (heights.total !== top) wrong.push("total");
          heights.resize(4);
          if (heights.total !== 10 + 50 + 50 + 13) wrong.push("resized");
          return wrong;
        }""",
    )

    assert wrong == []


async def test_variables_are_compared_by_value_and_told_by_name(run: Run) -> None:
    before = {"name": "Ada", "pets": [{"kind": "cat", "age": 3}], "gone": None, "age": 36}
    after = {"name": "Ada", "pets": [{"age": 3, "kind": "cat"}], "age": "36", "new": False}

    changes = await run("variables", "variableChanges", before, after)

    assert [(change["name"], change["kind"]) for change in changes] == [
        ("name", "same"),
        ("pets", "same"),
        ("age", "changed"),
        ("new", "added"),
        ("gone", "removed"),
    ]
    # A key that means something to objects is a name like any other.
    odd = await run("variables", "variableChanges", {}, {"constructor": 1})
    assert [change["kind"] for change in odd] == ["added"]


def entry(turn_id: str, cost: str, outcome: str = "completed", corrects_id: str | None = None) -> Any:
    """A row of the ledger."""
    return {"turn_id": turn_id, "cost": cost, "outcome": outcome, "corrects_id": corrects_id}


async def test_money_goes_with_what_became_of_its_turn_known_or_not(page: Page) -> None:
    entries = [
        entry("known-failed", "1"),
        entry("left", "2"),
        entry("far-stopped", "4"),
        entry("far-stopped", "8", "cancelled"),
        entry("far-retried", "16", "failed"),
        entry("far-retried", "32"),
        entry("far-retried", "-1", "completed", "use_1"),
    ]

    sums = await evaluate(
        page,
        "costs",
        """m => {
          const turns = new Map([[9, { id: "known-failed", state: "failed" }]]);
          const futureTurns = { 1: { turns: [{ id: "left", state: "completed" }] } };
          const open = { line: { count: 10, turns }, futureTurns, ledger: { entries: given } };
          const costs = m.costsByFate(open);
          return Object.entries(costs).map(([fate, { calls, cost }]) => [fate, calls, cost]);
        }""",
        entries,
    )

    assert sums == [["active", 2, "47"], ["discarded", 1, "2"], ["cancelled", 2, "12"], ["failed", 1, "1"]]


def future(ordinal: int, branch_point: int, turn_count: int) -> dict[str, int]:
    return {"ordinal": ordinal, "branch_point": branch_point, "turn_count": turn_count}


async def test_a_future_hangs_where_its_stem_went(run: Run) -> None:
    futures = [future(1, 2, 1), future(2, 1, 2), future(3, 1, 1)]

    tree = await run("tree", "arrange", futures, {"1": 1})
    asked = await run("tree", "doubtful", futures)

    assert [node["future"]["ordinal"] for node in tree] == [2, 3]
    assert [node["future"]["ordinal"] for node in tree[0]["children"]] == [1]
    assert [one["ordinal"] for one in asked] == [1]
    assert len(await run("tree", "arrange", futures, {"1": 2})) == 3

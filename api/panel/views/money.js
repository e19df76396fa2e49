// What the session has cost, and what became of it.

import { costsByFate, FATES, perTurn, totalOf } from "../model/costs.js";
import { counted, shareOf, showAmount, showCount } from "../model/money.js";
import { Chart } from "./chart.js";
import { html, memo, usePanel, useEffect } from "./parts.js";

const CHART_TURNS = 60;
const WORDS = {
  active: ["Active", "on the line"],
  discarded: ["Discarded", "in discarded futures"],
  cancelled: ["Cancelled", "turns that were stopped"],
  failed: ["Failed", "turns that failed"],
};

export const Money = memo(({ open }) => {
  const { conversation } = usePanel();
  useEffect(() => {
    conversation?.ensure(open.line.count - CHART_TURNS, open.line.count);
  }, [open.line]);
  if (open.usage !== null && open.ledgerTrouble !== null) {
    return html`<div class="money"><${Total} usage=${open.usage} /><p class="notice">What became of it cannot be told: ${open.ledgerTrouble}</p>
      <${Chart} points=${perTurn(open, CHART_TURNS)} /></div>`;
  }
  if (open.usage === null || open.ledger === null) return html`<div class="empty small"><div class="skeleton"></div><div class="skeleton half"></div></div>`;
  const costs = costsByFate(open);
  const isWhole = open.ledger.isAll;
  const total = isWhole ? totalOf(costs) : (open.usage.cost ?? "0");
  const { currency } = open.usage;
  return html`<div class="money">
    <${Total} usage=${open.usage} />
    ${open.usage.unknown_count > 0 && html`<p class="notice">${counted(open.usage.unknown_count, "call")} of unknown cost ${open.usage.unknown_count === 1 ? "is" : "are"} not in the sum.</p>`}
    <div class="bar" role="img" aria-label=${FATES.map((fate) => `${WORDS[fate][0]} ${showAmount(costs[fate].cost, currency)}`).join(", ")}>
      ${FATES.map((fate) => html`<i class=${fate} style=${{ flexGrow: shareOf(costs[fate].cost, total) }}></i>`)}</div>
    <dl class="fates" aria-busy=${String(!isWhole)}>
      ${FATES.map((fate) => html`<div class=${fate}><dt><i aria-hidden="true"></i><span>${WORDS[fate][0]}<small>${WORDS[fate][1]}</small></span></dt>
        <dd>${showAmount(costs[fate].cost, currency)}<small>${counted(costs[fate].calls, "call")}</small></dd></div>`)}
    </dl>
    <${Chart} points=${perTurn(open, CHART_TURNS)} />
  </div>`;
});

function Total({ usage }) {
  return html`<p class="total"><strong>${usage.cost === null ? "unknown" : showAmount(usage.cost, usage.currency)}</strong>
    <span>${showCount(usage.input_tokens)} tokens in, ${showCount(usage.output_tokens)} out</span></p>`;
}

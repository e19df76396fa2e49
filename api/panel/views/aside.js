// Beside the conversation: discarded futures, money, one turn in detail.

import { Futures } from "./futures.js";
import { Inspector } from "./inspector.js";
import { Money } from "./money.js";
import { html, IconButton, memo, usePanel } from "./parts.js";

const TABS = [
  ["futures", "Futures"],
  ["money", "Cost"],
  ["turn", "Turn"],
];

export const Aside = memo(({ open, tab, comparing }) => {
  const panel = usePanel();
  const onKeyDown = (event) => {
    const at = TABS.findIndex(([name]) => name === tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at + TABS.length - 1 }[event.key];
    if (to === undefined) return;
    panel.showAside(TABS[to % TABS.length][0]);
    event.currentTarget.querySelectorAll("[role=tab]")[to % TABS.length].focus();
  };
  const inspected = tab === "turn" ? turnOf(open) : null;
  return html`<aside class="aside" aria-label="About this session">
    <div class="aside-head">
      <div class="tabs" role="tablist" aria-label="About this session" onKeyDown=${onKeyDown}>
        ${TABS.map(([name, words]) => html`<button type="button" role="tab" id=${`tab-${name}`} aria-selected=${String(tab === name)} aria-controls="aside-page" tabindex=${tab === name ? 0 : -1} onClick=${() => panel.showAside(name)}>
          ${words}${name === "futures" && open.futures.length > 0 ? html`<span class="count">${open.futures.length}</span>` : null}</button>`)}
      </div>
      <${IconButton} icon="close" label="Hide the side panel" onClick=${() => panel.hideAside()} />
    </div>
    <div class="aside-page" id="aside-page" role="tabpanel" aria-labelledby=${`tab-${tab}`} tabindex="0">
      ${tab === "futures" && html`<${Futures} futures=${open.futures} futureTurns=${open.futureTurns} points=${open.points} header=${open.header} intent=${comparing === null ? open.intent : null} comparing=${comparing} />`}
      ${tab === "money" && html`<${Money} open=${open} />`}
      ${tab === "turn" && html`<${Inspector} turn=${inspected} header=${open.header} details=${open.details} isLive=${open.connection.state === "live"} />`}
    </div>
  </aside>`;
});

/** The turn that is looked at: on the line, or in a discarded future. */
function turnOf(open) {
  const isIt = (turn) => turn.id === open.inspected;
  const discarded = Object.values(open.futureTurns).flatMap(({ turns }) => turns);
  return [...open.line.turns.values()].find(isIt) ?? discarded.find(isIt) ?? null;
}

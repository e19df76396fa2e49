// Discarded futures as a tree beside the conversation: the line from top to bottom, what was discarded hanging off it.

import { compareHash } from "../core/routes.js";
import { sumOf } from "../model/costs.js";
import { whoIs } from "../model/changes.js";
import { counted, showAmount } from "../model/money.js";
import { ago, exactly } from "../model/time.js";
import { arrange } from "../model/tree.js";
import { Intent } from "./intent.js";
import { html, Icon, memo, usePanel } from "./parts.js";

export const Futures = memo(({ futures, futureTurns, points, header, intent, comparing }) => {
  const roots = arrange(futures, points);
  if (roots.length === 0) return html`<${NoFutures} />`;
  const places = [...new Set(roots.map((node) => node.future.branch_point))];
  const card = { futureTurns, header, intent, comparing };
  return html`<div class="tree">
    <p class="visually-hidden">The line of the conversation from its start to its end, with ${counted(futures.length, "discarded future")}.</p>
    <ol class="track">
      <${Stop} words="Start" isPast=${header.cursor > 0} />
      ${places.map((point) => html`<li class="junction" key=${point}>
        <${Place} point=${point} cursor=${header.cursor} />
        <ul class="branches">${roots.filter((node) => node.future.branch_point === point).map((node) => html`<${Branch} key=${node.future.ordinal} node=${node} ...${card} />`)}</ul>
      </li>`)}
      <${Stop} words=${header.cursor < header.turn_count ? `Turn ${header.turn_count}, end of the line` : `Turn ${header.turn_count}, now`} isNow=${header.cursor === header.turn_count} />
    </ol>
    ${header.cursor < header.turn_count && html`<p class="faint">In effect: ${header.cursor === 0 ? "no turn" : `up to turn ${header.cursor}`}.</p>`}
  </div>`;
});

function Stop({ words, isNow = false }) {
  return html`<li class=${`station${isNow ? " now" : ""}`}><i aria-hidden="true"></i><span>${words}</span></li>`;
}

function Place({ point, cursor }) {
  const panel = usePanel();
  const words = point === 0 ? "From the start" : `After turn ${point}`;
  return html`<div class=${`station${point > cursor ? " out" : ""}`}><i aria-hidden="true"></i>
    ${point === 0 ? html`<span>${words}</span>` : html`<button type="button" class="link" onClick=${() => panel.showTurn(point - 1)}>${words}</button>`}</div>`;
}

function Branch({ node, futureTurns, header, intent, comparing }) {
  const { commands } = usePanel();
  const { future, children } = node;
  const known = futureTurns[future.ordinal];
  const turns = known?.turns ?? [];
  const first = turns.find((turn) => turn.user_message !== null) ?? turns[0];
  const isMeant = intent?.kind === "restore" && intent.ordinal === future.ordinal;
  const cost = known?.isAll ? sumOf(turns) : null;
  return html`<li class=${`branch${comparing === future.ordinal ? " is-open" : ""}`}>
    <article aria-label=${`Discarded future ${future.ordinal}`}>
      <header><strong>Future ${future.ordinal}</strong>
        <span>${counted(future.turn_count, "turn")}${cost !== null && cost.cost !== "0" ? ` · ${showAmount(cost.cost, cost.currency)}` : ""}</span></header>
      ${first && html`<p class="excerpt">${first.user_message && html`<span>${clip(first.user_message.text)}</span>`}
        ${first.replies[0] && html`<em>${clip(first.replies[0].text)}</em>`}</p>`}
      <p class="faint"><time datetime=${future.discarded_at} title=${exactly(future.discarded_at)}>${ago(future.discarded_at)}</time>${future.discarded_by.on_behalf_of ? ` by ${whoIs(future.discarded_by)}` : ""}</p>
      ${isMeant ? html`<${Intent} intent=${intent} revision=${header.revision} place=${0} />` : html`<div class="buttons">
        <a class="button" href=${compareHash(header.id, future.ordinal)} aria-label=${`Compare future ${future.ordinal}`}><${Icon} name="inspect" />Compare</a>
        ${header.state === "open" && comparing !== future.ordinal && html`<button type="button" aria-label=${`Restore future ${future.ordinal}`} onClick=${() => commands.intend({ kind: "restore", ordinal: future.ordinal })}><${Icon} name="rewind" />Restore</button>`}
      </div>`}
    </article>
    ${children.length > 0 && html`<ul class="branches">${children.map((child) => html`<${Branch} key=${child.future.ordinal} node=${child} futureTurns=${futureTurns} header=${header} intent=${intent} comparing=${comparing} />`)}</ul>`}
  </li>`;
}

function NoFutures() {
  return html`<div class="empty small">
    <svg class="sketch" viewBox="0 0 120 80" aria-hidden="true"><path class="line" d="M30 8v64" /><path class="other" d="M30 28c0 18 34 10 34 30" /><circle cx="30" cy="10" r="5" /><circle cx="30" cy="70" r="5" /><circle class="other-dot" cx="64" cy="62" r="5" /></svg>
    <h3>Nothing discarded yet</h3>
    <p>Edit a turn, run it again, or rewind and say something else: what stood there before is kept here, and can be compared and restored.</p>
  </div>`;
}

function clip(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= 90 ? line : `${line.slice(0, 89)}…`;
}

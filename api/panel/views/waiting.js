// All questions that wait for a person, whatever session they were asked in.

import { turnHash } from "../core/routes.js";
import { counted } from "../model/money.js";
import { ago, exactly } from "../model/time.js";
import { Arguments, EFFECTS } from "./approvals.js";
import { html, Icon, IconButton, memo, useAtOnce, useEffect, usePanel } from "./parts.js";

export const Waiting = memo(({ approvals, sessions, agents }) => {
  const panel = usePanel();
  useAtOnce(() => document.getElementById("main").focus(), []);
  useEffect(() => {
    panel.approvals.refresh();
  }, []);
  const { items, hasMore, names, trouble } = approvals;
  return html`<section class="waiting-page" aria-labelledby="waiting-title">
    <header class="head">
      <${IconButton} icon="menu" label="Sessions" class="quiet square only-narrow" onClick=${() => panel.dispatch({ type: "drawer", drawer: "sessions" })} />
      <div class="head-words"><h1 id="waiting-title">Approvals</h1>
        <p>${items === null ? "What waits for a decision" : items.length === 0 ? "Nothing waits" : `${counted(items.length, "call")}${hasMore ? " and more" : ""} waiting for a decision, newest first`}</p></div>
    </header>
    <div class="waiting-scroll" tabindex="0" role="region" aria-label="Open approvals">
      ${trouble && html`<p class="bad-words" role="alert">${trouble} <button type="button" class="link" onClick=${() => panel.approvals.refresh()}>Try again</button></p>`}
      ${items === null && !trouble && html`<div class="skeleton"></div><div class="skeleton half"></div>`}
      ${items?.length === 0 && html`<${Nothing} />`}
      ${items !== null && items.length > 0 && html`<ul class="waiting-list" aria-label="Open approvals, newest first">
        ${items.map((approval) => html`<${Item} key=${approval.id} approval=${approval} name=${nameOf(approval, sessions, names)} agent=${agents.items?.find((one) => one.id === approval.agent.id)?.name} />`)}
      </ul>`}
    </div>
  </section>`;
});

function Item({ approval, name, agent }) {
  const title = name ?? agent ?? "Untitled session";
  return html`<li><article class="waiting-item" aria-label=${`${approval.tool} in ${title}`}>
    <header><h2><code>${approval.tool}</code></h2><span class="tag">${EFFECTS[approval.effect] ?? approval.effect}</span>
      <time class="faint" datetime=${approval.requested_at} title=${exactly(approval.requested_at)}>${ago(approval.requested_at)}</time></header>
    <${Arguments} value=${approval.arguments} />
    <footer><p><strong>${title}</strong>${agent && agent !== title ? html` <span class="faint">${agent}</span>` : null}
        <span class="faint">Denied on ${exactly(approval.expires_at)} without an answer.</span></p>
      <a class="button primary" href=${turnHash(approval.session_id, approval.turn_id)} aria-label=${`Decide on ${approval.tool} in ${title}`}>Decide<${Icon} name="forward" /></a></footer>
  </article></li>`;
}

function Nothing() {
  return html`<div class="empty"><${Icon} name="check" /><h2>Nothing waits for a decision</h2>
    <p>When an agent has to ask before it calls a tool, the question stands here and in its conversation.</p></div>`;
}

function nameOf(approval, sessions, names) {
  const listed = sessions.find((session) => session.id === approval.session_id);
  return listed === undefined ? names[approval.session_id] : listed.name;
}

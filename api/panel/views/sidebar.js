// The list of sessions, with what narrows it down.

import { withCost } from "../model/list.js";
import { counted, showAmount } from "../model/money.js";
import { sessionHash } from "../core/routes.js";
import { ago, exactly } from "../model/time.js";
import { html, Icon, IconButton, memo, Menu, useState, usePanel } from "./parts.js";
import { SessionMenu } from "./session-menu.js";

export const Sidebar = memo(({ list, agents, openId, approvals, isAtApprovals }) => {
  const panel = usePanel();
  const shown = withCost(list);
  const asking = new Set((approvals.items ?? []).map((approval) => approval.session_id));
  return html`<nav class="sidebar" aria-label="Sessions">
    <div class="brand">
      <a href="#/" aria-label="Turnledger, new session"><img src=${new URL("../icon.svg", import.meta.url).pathname} alt="" width="26" height="26" /><span>Turnledger</span></a>
      <${PanelMenu} />
    </div>
    <a class="button primary wide" href="#/"><${Icon} name="plus" />New session</a>
    <a class="approvals-link" href="#/approvals" aria-current=${isAtApprovals ? "page" : undefined}><${Icon} name="ask" />Approvals
      ${approvals.items?.length > 0 && html`<span class="count" aria-label=${`${approvals.items.length} open`}>${approvals.items.length}${approvals.hasMore ? "+" : ""}</span>`}</a>
    <${Filters} filter=${list.filter} agents=${agents} />
    <ul class="sessions" aria-label="Sessions, newest first" aria-busy=${String(list.phase === "loading")}>
      ${shown.map((item) => html`<${Row} key=${item.id} item=${item} agents=${agents} isOpen=${item.id === openId} isAsking=${asking.has(item.id)} cost=${list.costs[item.id]} />`)}
    </ul>
    ${list.phase === "loading" && shown.length === 0 && html`<div class="list-empty"><div class="skeleton"></div><div class="skeleton half"></div></div>`}
    ${list.phase === "ready" && shown.length === 0 && html`<${Nothing} filter=${list.filter} hasMore=${list.nextToken !== null} />`}
    ${list.trouble && html`<p class="list-empty bad-words" role="status">${list.trouble} <button type="button" class="link" onClick=${() => panel.sessions.refresh()}>Try again</button></p>`}
    ${list.nextToken !== null && list.phase === "ready" && html`<button type="button" class="quiet wide" onClick=${() => panel.sessions.more()}>Older sessions</button>`}
  </nav>`;
});

const Row = memo(({ item, agents, isOpen, isAsking, cost }) => {
  const name = item.name ?? agents.items?.find((agent) => agent.id === item.agent.id)?.name ?? "Untitled session";
  return html`<li class=${`session${isOpen ? " is-open" : ""}`}>
    <a href=${sessionHash(item.id)} aria-current=${isOpen ? "page" : undefined}>
      <span class=${`session-name${item.name === null ? " untitled" : ""}`}>${item.active_turn_id !== null && html`<i class=${isAsking ? "running asking" : "running"} role="img" aria-label=${isAsking ? "waits for an approval" : "running"}></i>`}${name}</span>
      <span class="session-facts"><span>${counted(item.turn_count, "turn")}</span>
        ${cost && html`<span>${showAmount(cost.cost)}</span>`}
        ${item.state === "ended" && html`<span class="tag">ended</span>`}
        <time datetime=${item.updated_at} title=${exactly(item.updated_at)}>${ago(item.updated_at)}</time></span>
    </a>
    <${SessionMenu} session=${item} label=${`Actions on ${name}`} />
  </li>`;
});

function Filters({ filter, agents }) {
  const panel = usePanel();
  const isNarrow = filter.state !== "" || filter.agentId !== "" || filter.period !== "" || filter.cost !== "";
  const [isWide, setWide] = useState(isNarrow);
  const change = (name) => (event) => panel.sessions.filter({ [name]: event.target.value });
  return html`<form class="filters" role="search" aria-label="Sessions" onSubmit=${(event) => event.preventDefault()}>
    <div class="search">
      <${Icon} name="search" />
      <input id="search" type="search" placeholder="Name or id" aria-label="Search by the beginning of the name, or by id" value=${filter.q} maxlength="200" onInput=${change("q")} />
      <${IconButton} icon="filter" label="Filters" aria-expanded=${String(isWide)} aria-controls="filters" class=${`quiet square${isNarrow ? " is-on" : ""}`} onClick=${() => setWide(!isWide)} />
    </div>
    ${isWide && html`<div class="filter-fields" id="filters">
      <label>Agent<select value=${filter.agentId} onChange=${change("agentId")}>
        <option value="">any</option>${(agents.items ?? []).map((agent) => html`<option value=${agent.id}>${agent.name}</option>`)}</select></label>
      <label>State<select value=${filter.state} onChange=${change("state")}>
        <option value="">any</option><option value="open">open</option><option value="ended">ended</option></select></label>
      <label>Active<select value=${filter.period} onChange=${change("period")}>
        <option value="">any time</option><option value="hour">last hour</option><option value="day">last day</option><option value="week">last week</option><option value="month">last 30 days</option></select></label>
      <label>Cost<select value=${filter.cost} onChange=${change("cost")}>
        <option value="">any</option><option value="0.001">$0.001 or more</option><option value="0.01">$0.01 or more</option><option value="0.1">$0.10 or more</option><option value="1">$1 or more</option></select></label>
      ${isNarrow && html`<button type="button" class="link" onClick=${() => panel.sessions.filter({ state: "", agentId: "", period: "", cost: "" })}>Clear filters</button>`}
    </div>`}
  </form>`;
}

function Nothing({ filter, hasMore }) {
  const isNarrow = Object.values(filter).some((value) => value !== "");
  return html`<p class="list-empty">${isNarrow ? (hasMore ? "None of the newest is like that." : "No session is like that.") : "No sessions yet. The first one is a click away."}</p>`;
}

function PanelMenu() {
  const panel = usePanel();
  const ask = (kind) => () => panel.dispatch({ type: "dialog", dialog: { kind } });
  return html`<${Menu} icon="gear" label="Panel menu" items=${[
    { icon: "gear", label: "Preferences", act: ask("preferences") },
    { icon: "inspect", label: "Keyboard shortcuts", act: ask("shortcuts") },
    { icon: "file", label: "The API", act: () => window.open("/schema", "_blank", "noopener") },
    { icon: "close", label: "Sign out", act: () => panel.signOut() },
  ]} />`;
}

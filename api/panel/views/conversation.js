// The conversation: its head, the turns, and where one writes.

import { saidBy } from "../model/session.js";
import { counted, showAmount } from "../model/money.js";
import { Composer } from "./composer.js";
import { Notices } from "./notices.js";
import { html, Icon, IconButton, memo, useAtOnce, usePanel } from "./parts.js";
import { SessionMenu } from "./session-menu.js";
import { Turn, Unknown } from "./turn.js";
import { WindowedList } from "./window.js";

export const ConversationView = memo(({ open, agents, isOffline, isAsideOpen }) => {
  if (open.phase === "loading") return html`<div class="conversation"><div class="filling"><div class="skeleton short"></div><div class="skeleton"></div><div class="skeleton half"></div><p class="visually-hidden" role="status">Opening the session</p></div></div>`;
  if (open.phase !== "ready") return html`<${NotThere} open=${open} />`;
  return html`<div class="conversation">
    <${Head} open=${open} agents=${agents} isAsideOpen=${isAsideOpen} />
    <${Turns} open=${open} speaker=${definitionOf(open.header, agents)?.speaker ?? "assistant"} />
    <div class="foot">
      <${Notices} open=${open} isOffline=${isOffline} />
      ${open.header.state === "open" ? html`<${Composer} open=${open} />` : html`<${Ended} header=${open.header} draft=${open.draft} />`}
    </div>
  </div>`;
});

function Head({ open, agents, isAsideOpen }) {
  const panel = usePanel();
  const { header, usage } = open;
  const agent = agents.items?.find((item) => item.id === header.agent.id);
  const definition = definitionOf(header, agents);
  return html`<header class="head">
    <${IconButton} icon="menu" label="Sessions" class="quiet square only-narrow" onClick=${() => panel.dispatch({ type: "drawer", drawer: "sessions" })} />
    <div class="head-words">
      <h1><button type="button" class="title" title="Rename" onClick=${() => panel.dispatch({ type: "dialog", dialog: { kind: "rename", session: header } })}>${header.name ?? agent?.name ?? "Untitled session"}</button></h1>
      <p>${agent?.name ?? "Agent"} <span class="faint">version ${header.agent.version}${definition ? ` · ${definition.model}` : ""}</span>
        ${header.state === "ended" && html` <span class="tag">ended</span>`}</p>
    </div>
    <${Link} connection=${open.connection} state=${header.state} />
    <button type="button" class="quiet cost-chip" aria-label=${`Cost of this session: ${usage === null ? "loading" : showAmount(usage.cost, usage.currency)}`} title="What this session has cost" onClick=${() => panel.openAside("money")}>
      ${usage === null ? "…" : showAmount(usage.cost, usage.currency)}</button>
    <${IconButton} icon="beside" label=${isAsideOpen ? "Hide the side panel" : "Show the side panel"} aria-pressed=${String(isAsideOpen)} onClick=${() => panel.toggleAside()} />
    <${SessionMenu} session=${header} />
  </header>`;
}

function definitionOf(header, agents) {
  return agents.versions[header.agent.id]?.find((item) => item.version === header.agent.version)?.definition;
}

function Link({ connection, state }) {
  if (state === "ended") return null;
  const words = { live: "Live", connecting: "Connecting", waiting: "Reconnecting", resting: "Paused", over: "Closed" }[connection.state];
  return html`<span class="link-state" data-state=${connection.state} title="Changes by others appear as they happen"><i aria-hidden="true"></i><span>${words}</span></span>`;
}

function Turns({ open, speaker }) {
  const { conversation } = usePanel();
  const { line, header } = open;
  const queue = queued(open);
  const draw = (position) => {
    const turn = line.turns.get(position);
    if (turn === undefined) return html`<${Unknown} key=${`p${position}`} position=${position} count=${line.count} />`;
    const isMeant = open.intent !== null && open.intent.kind !== "restore" && (open.intent.turnId ?? open.intent.anchor) === turn.id;
    return html`<${Turn} key=${turn.id} turn=${turn} count=${line.count} isOut=${position >= header.cursor}
      isLast=${position === header.cursor - 1} isOpen=${header.state === "open"} isActive=${turn.id === header.active_turn_id}
      isQueued=${queue.has(turn.id)} said=${saidBy(open, turn.id)} speaker=${speaker} intent=${isMeant ? open.intent : null}
      revision=${isMeant ? header.revision : null} />`;
  };
  return html`<${WindowedList} count=${line.count} label="Conversation" focus=${open.focus} isBusy=${header.active_turn_id !== null}
    onFocused=${(focus) => conversation?.dispatch({ type: "session/focused", focus })} draw=${draw} onRange=${(first, end) => conversation?.ensure(first, end)}
    footer=${html`<${Foot} open=${open} />`} />`;
}

/** What comes behind the last turn: the line's end if the cursor is not there, a message on its way, first words. */
function Foot({ open }) {
  const { commands } = usePanel();
  const { header, sending } = open;
  const behind = header.turn_count - header.cursor;
  return html`${behind > 0 && header.state === "open" && html`<div class="out-note" role="note">
      <p>${counted(behind, "turn")} ${behind === 1 ? "is" : "are"} out of effect. Say something to go on from ${header.cursor === 0 ? "the start" : `turn ${header.cursor}`}, or move forward again.</p>
      <button type="button" onClick=${() => moveForward(open, commands)}>Move forward to the end</button>
    </div>`}
    ${sending !== null && html`<div class="turn sending"><div class="turn-number"></div><div class="turn-body"><div class="said"><p>${sending.text}</p></div></div></div>`}
    ${header.turn_count === 0 && header.state === "ended" && html`<div class="empty"><h2>Nothing was said</h2><p>This session ended before its first turn.</p></div>`}
    ${header.turn_count === 0 && header.state === "open" && sending === null && html`<div class="empty"><h2>Say the first word</h2><p>The agent answers as soon as you write. Every turn can be taken back, edited and run again.</p></div>`}`;
}

function moveForward(open, commands) {
  const last = open.line.turns.get(open.header.turn_count - 1);
  if (last) commands.intend({ kind: "rewind", turnId: last.id, position: last.position });
}

function Ended({ header, draft }) {
  const panel = usePanel();
  return html`<div class="ended"><p>This session has ended${header.resolution ? `: ${header.resolution.replace(/\.$/, "")}` : ""}. It stays readable.</p>
    <button type="button" onClick=${() => panel.startWith(draft)}>New session</button></div>`;
}

function NotThere({ open }) {
  const panel = usePanel();
  useAtOnce(() => document.getElementById("main").focus(), []);
  const isMissing = open.phase === "missing";
  return html`<div class="conversation"><div class="empty page">
    <${Icon} name=${isMissing ? "file" : "warning"} />
    <h1>${isMissing ? "There is no such session" : "The session cannot be read"}</h1>
    <p>${isMissing ? "It was deleted, or the address is not quite right." : open.failure}</p>
    <button type="button" class="primary" onClick=${() => panel.startWith("")}>New session</button>
  </div></div>`;
}

/** The turns that wait behind the active one. */
function queued(open) {
  const waiting = new Set();
  const { header, line } = open;
  if (header.active_turn_id === null) return waiting;
  for (let position = header.turn_count - 1; position >= 0; position -= 1) {
    const turn = line.turns.get(position);
    if (turn === undefined || turn.finished_at !== null || turn.id === header.active_turn_id) break;
    waiting.add(turn.id);
  }
  return waiting;
}

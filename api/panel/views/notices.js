// What stands between the conversation and the composer: how the connection is, what was refused, what can be undone.

import { summarize } from "../model/changes.js";
import { ago } from "../model/time.js";
import { reconnectNow } from "../core/stream.js";
import { html, Icon, IconButton, memo, usePanel } from "./parts.js";

export const Notices = memo(({ open, isOffline }) => html`<div class="notices">
  <${Connection} connection=${open.connection} isOffline=${isOffline} state=${open.header.state} />
  ${open.conflict !== null && html`<${Conflict} open=${open} />`}
  ${open.trouble !== null && html`<${Trouble} trouble=${open.trouble} />`}
  ${open.sending?.state === "unanswered" && html`<${Unanswered} />`}
  ${open.undo !== null && html`<${Undo} undo=${open.undo} />`}
</div>`);

function Connection({ connection, isOffline, state }) {
  if (state === "ended" || ["live", "resting", "over"].includes(connection.state)) return null;
  // A moment of silence is not worth a word.
  if (!isOffline && connection.state === "connecting") return null;
  return html`<div class="banner" role="status">
    <span class="pulse" aria-hidden="true"></span>
    <p>${isOffline ? "You are offline. What you write is kept, and everything catches up when you are back." : "The connection was lost. Trying again …"}</p>
    <button type="button" onClick=${reconnectNow}>Try now</button>
  </div>`;
}

/** A refused message: the draft is in the composer; this says what changed, and what can be done. */
function Conflict({ open }) {
  const panel = usePanel();
  const { commands } = panel;
  const { problem } = open.conflict;
  const retry = open.header.state === "ended" ? "abandon" : (problem.retry ?? "rebase");
  const lines = summarize(problem.changes ?? []);
  const shown = lines.slice(-5);
  const look = (turnId) => {
    const turn = [...open.line.turns.values()].find((known) => known.id === turnId);
    if (turn) commands.dispatch({ type: "session/focus", position: turn.position });
  };
  return html`<section class="conflict" role="alertdialog" aria-label="Your message was not sent" aria-describedby="conflict-why">
    <h3><${Icon} name="warning" />Your message was not sent</h3>
    <p id="conflict-why">${WHY[retry] ?? WHY.rebase} Your draft is below.</p>
    ${shown.length > 0 && html`<ul class="changes">
      ${lines.length > shown.length && html`<li class="faint">${lines.length - shown.length} earlier changes</li>`}
      ${shown.map((line) => html`<li>
        <span>${line.text}${line.count > 1 ? ` (${line.count} times)` : ""}</span>
        <span class="faint">${ago(line.at)}</span>
        ${line.turnId && html`<button type="button" class="link" onClick=${() => look(line.turnId)}>Show</button>`}
      </li>`)}
    </ul>`}
    <div class="buttons">
      ${retry !== "abandon" && html`<button type="button" class="primary" disabled=${open.draft.trim() === ""} onClick=${() => commands.sendAgain()}>
        ${retry === "rebase" ? "Rebase on the new end" : "Send again"}</button>`}
      ${retry === "abandon" && html`<button type="button" class="primary" onClick=${() => panel.startWith(open.draft)}>Begin a new session with it</button>`}
      ${retry !== "abandon" && html`<button type="button" onClick=${() => commands.keepDraft()}>Write on first</button>`}
      <button type="button" class="danger" onClick=${() => commands.discardDraft()}>Discard</button>
    </div>
  </section>`;
}

const WHY = {
  resubmit: "Something about the session changed, but nothing in the conversation.",
  rebase: "The conversation went on while you were writing.",
  abandon: "The session has ended and takes no further messages.",
  replay: "The service could not say whether it arrived.",
};

function Trouble({ trouble }) {
  const { commands } = usePanel();
  return html`<div class="banner bad" role="alert"><${Icon} name="warning" /><p>${trouble}</p>
    <${IconButton} icon="close" label="Dismiss" onClick=${() => commands.dispatch({ type: "session/trouble", trouble: null })} /></div>`;
}

function Unanswered() {
  const { commands } = usePanel();
  return html`<div class="banner" role="status"><span class="pulse" aria-hidden="true"></span>
    <p>Your message has no answer yet. It is sent again until it has; it is said only once.</p>
    <button type="button" onClick=${() => commands.giveUpSending()}>Back to the draft</button></div>`;
}

function Undo({ undo }) {
  const { commands } = usePanel();
  return html`<div class="banner calm" role="status"><p>${undo.label}</p>
    ${undo.canDo && html`<button type="button" onClick=${() => commands.undo()}><${Icon} name="rewind" />Undo</button>`}
    <${IconButton} icon="close" label="Dismiss" onClick=${() => commands.dispatch({ type: "session/undo", undo: null })} /></div>`;
}

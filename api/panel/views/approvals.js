// What a tool call waits for: a person who approves or denies it, with its arguments before their eyes.

import { whoIs } from "../model/changes.js";
import { ago, exactly } from "../model/time.js";
import { html, Icon, memo, usePanel, useState } from "./parts.js";

export const EFFECTS = { read: "only reads", idempotent: "may be repeated", once: "must not be made twice" };
const REASONS = {
  required: "This tool always asks.",
  policy: "The rules of your organization ask for it.",
  outcome_unknown: "It was begun before, and nobody knows whether it was done. If you approve, it is made again.",
};

/** All that people were asked in a turn: what is open as a question, what is decided as a line. */
export const Approvals = memo(({ turn, isOpen }) => {
  if (turn.approvals === undefined || turn.approvals.length === 0) return null;
  const canDecide = isOpen && turn.state === "awaiting_approval";
  return html`<div class="approvals">${turn.approvals.map((approval) =>
    approval.decision == null && canDecide
      ? html`<${Question} key=${approval.id} approval=${approval} />`
      : html`<${Decided} key=${approval.id} approval=${approval} />`,
  )}</div>`;
});

function Question({ approval }) {
  const { commands } = usePanel();
  const [note, setNote] = useState("");
  const [isAlways, setAlways] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const decide = (decision) => async () => {
    setBusy(true);
    await commands.decide(approval, { decision, note: note.trim(), always: isAlways });
    setBusy(false);
  };
  return html`<section class="approval" tabindex="-1" aria-label=${`Approval of ${approval.tool}`}>
    <h4><${Icon} name="warning" /><span>May <code>${approval.tool}</code> be called?</span><span class="tag">${EFFECTS[approval.effect] ?? approval.effect}</span></h4>
    <${Arguments} value=${approval.arguments} />
    <p class="faint">${REASONS[approval.reason] ?? approval.reason} Without an answer it is denied on <time datetime=${approval.expires_at}>${exactly(approval.expires_at)}</time>.</p>
    <label>Note <span class="optional">optional; the model is told the note of a denial</span>
      <input value=${note} maxlength="1000" autocomplete="off" onInput=${(event) => setNote(event.target.value)} /></label>
    <label class="check"><input type="checkbox" checked=${isAlways} onChange=${(event) => setAlways(event.target.checked)} />Always, for this tool in this organization</label>
    <div class="buttons">
      <button type="button" class="primary" disabled=${isBusy} onClick=${decide("approved")}><${Icon} name="check" />Approve</button>
      <button type="button" class="danger" disabled=${isBusy} onClick=${decide("denied")}><${Icon} name="close" />Deny</button>
    </div>
  </section>`;
}

function Decided({ approval }) {
  const { decision } = approval;
  const words = approval.has_expired ? "denied, nobody decided in time" : (decision ?? "not decided before the turn ended");
  return html`<p class="decided" data-decision=${decision ?? "none"}><${Icon} name=${decision === "approved" ? "check" : "close"} />
    <span><code>${approval.tool}</code> ${words}${decision != null && approval.decided_by?.on_behalf_of ? ` by ${whoIs(approval.decided_by)}` : ""}${approval.note ? `: “${approval.note}”` : ""}</span>
    ${approval.decided_at && html`<time class="faint" datetime=${approval.decided_at} title=${exactly(approval.decided_at)}>${ago(approval.decided_at)}</time>`}</p>`;
}

/** Arguments one below the other; what is no plain value as JSON. */
export function Arguments({ value }) {
  const entries = Object.entries(value);
  if (entries.length === 0) return html`<p class="faint">Without arguments.</p>`;
  return html`<dl class="arguments">${entries.map(([name, one]) => html`<div><dt>${name}</dt><dd>${typeof one === "string" ? one : html`<code>${JSON.stringify(one)}</code>`}</dd></div>`)}</dl>`;
}

// What is about to happen, told before it happens: what goes out of effect, what cannot be undone, what it cost.

import { summarize } from "../model/changes.js";
import { counted, showAmount, showCount } from "../model/money.js";
import { html, Icon, useEffect, usePanel, useRef } from "./parts.js";

const TITLES = {
  rewind: ({ turnId }, place) => (turnId === null ? "Rewind to the start?" : `Rewind to turn ${place}?`),
  edit: (_, place) => `Run turn ${place} again with these words?`,
  regenerate: (_, place) => `Run turn ${place} again?`,
  restore: ({ ordinal }) => `Restore discarded future ${ordinal}?`,
};
const VERBS = { rewind: "Rewind", edit: "Run again", regenerate: "Run again", restore: "Restore" };

/** The preview of what the person intends, with the choice to do it or to let it be. */
export function Intent({ intent, revision, place }) {
  const { commands } = usePanel();
  const { preview } = intent;
  const section = useRef(null);
  useEffect(() => {
    // It must be seen before it is decided upon, wherever its turn stands on the screen.
    section.current.scrollIntoView({ block: "nearest" });
  }, [preview === null, intent.trouble]);
  const isReady = preview !== null && preview.revision === revision && !intent.isBusy;
  const isEmpty = intent.kind === "edit" && intent.text.trim() === "";
  return html`<section class="intent" ref=${section} aria-label="Preview" aria-busy=${String(!isReady)}>
    <h4>${TITLES[intent.kind](intent, place)}</h4>
    ${intent.changes && html`<${Meanwhile} changes=${intent.changes} />`}
    ${preview === null && intent.trouble === null && html`<div class="skeleton half"></div>`}
    ${preview !== null && html`<ul class="facts">${facts(intent, preview)}</ul>`}
    ${intent.trouble && html`<p class="bad-words" role="alert">${intent.trouble}</p>`}
    <div class="buttons">
      <button type="button" class="primary" disabled=${!isReady || isEmpty} onClick=${() => commands.confirm()}>
        ${intent.isBusy ? "One moment …" : VERBS[intent.kind]}</button>
      <button type="button" onClick=${() => commands.dropIntent()}>Cancel</button>
    </div>
  </section>`;
}

function Meanwhile({ changes }) {
  return html`<div class="meanwhile" role="alert">
    <p><${Icon} name="warning" />The session changed while you were looking; nothing was done. This is what it would do now.</p>
    <ul>${summarize(changes.changes).slice(-4).map((line) => html`<li>${line.text}${line.count > 1 ? ` (${line.count} times)` : ""}</li>`)}</ul>
  </div>`;
}

function facts(intent, preview) {
  const turns = counted(preview.turn_count, "turn");
  const replies = counted(preview.reply_count, "reply", "replies");
  const lines = [];
  if (preview.turn_count === 0) lines.push(["check", "Every turn of the line is in effect."]);
  else if (intent.kind === "rewind") {
    lines.push(["rewind", `${turns} with ${replies} out of effect. They stay on the line until you say something; then they are kept as a discarded future.`]);
  } else {
    lines.push(["branch", `${turns} with ${replies} will be kept as a discarded future. You can restore it.`]);
  }
  if (preview.cancelled_turn_id !== null) lines.push(["stop", "The running turn is stopped."]);
  if (preview.tool_calls.length > 0) {
    lines.push(["warning", `${counted(preview.tool_calls.length, "tool call")} cannot be undone${toolNames(preview.tool_calls)}.`, "warn"]);
  } else if (preview.turn_count > 0) {
    lines.push(["check", "No tool call among them that cannot be undone."]);
  }
  if (preview.memory_count > 0) lines.push(["trash", `${counted(preview.memory_count, "memory", "memories")} will be retracted.`]);
  const { usage } = preview;
  const tokens = usage.input_tokens + usage.output_tokens;
  if (tokens > 0 || usage.unknown_count > 0) {
    const cost = usage.cost === null ? "an unknown amount" : showAmount(usage.cost, usage.currency);
    const unknown = usage.unknown_count > 0 && usage.cost !== null ? ` and ${counted(usage.unknown_count, "call")} of unknown cost` : "";
    lines.push(["coins", `They took ${showCount(tokens)} tokens and ${cost}${unknown}; that stays in the ledger.`]);
  }
  return lines.map(([icon, text, kind]) => html`<li class=${kind ?? ""}><${Icon} name=${icon} /><span>${text}</span></li>`);
}

function toolNames(calls) {
  const names = [...new Set(calls.map((call) => call.tool ?? call.name ?? call.model).filter(Boolean))];
  return names.length === 0 ? "" : `: ${names.join(", ")}`;
}

// One turn in all its detail.

import { showAmount, showCount, showMilliseconds, counted } from "../model/money.js";
import { latencyOf } from "../model/line.js";
import { whoIs } from "../model/changes.js";
import { exactly } from "../model/time.js";
import { CopyButton, html, memo, usePanel } from "./parts.js";

export const Inspector = memo(({ turn, header }) => {
  const { api } = usePanel();
  if (turn === null) {
    return html`<div class="empty small"><h3>No turn chosen</h3><p>Choose “Inspect this turn” below a turn to see its steps, its timing and what it took.</p></div>`;
  }
  const { usage } = turn;
  return html`<div class="inspector">
    <h3>Turn ${turn.position + 1} <span class="tag">${turn.state.replace("_", " ")}</span></h3>
    <dl class="pairs">
      <div><dt>Begun</dt><dd>${exactly(turn.created_at)} by ${whoIs(turn.created_by)}</dd></div>
      ${turn.finished_at && html`<div><dt>Ended</dt><dd>${exactly(turn.finished_at)}</dd></div>`}
      <div><dt>Calls</dt><dd>${counted(turn.steps.length, "step")}, ${showMilliseconds(latencyOf(turn))}</dd></div>
      ${usage && html`<div><dt>Tokens</dt><dd>${showCount(usage.input_tokens)} in (${showCount(usage.cached_tokens)} cached), ${showCount(usage.output_tokens)} out (${showCount(usage.reasoning_tokens)} reasoning)</dd></div>
      <div><dt>Cost</dt><dd>${showAmount(usage.cost, usage.currency)}</dd></div>`}
      ${turn.node && html`<div><dt>Node after</dt><dd><code>${turn.node}</code></dd></div>`}
      ${turn.copied_from && html`<div><dt>Copied from</dt><dd><code>${turn.copied_from}</code></dd></div>`}
      <div><dt>Id</dt><dd><code>${turn.id}</code></dd></div>
    </dl>
    ${turn.steps.length > 0 && html`<h4>Steps</h4><${Steps} turn=${turn} />`}
    ${turn.error && html`<h4>Error</h4><pre tabindex="0">${JSON.stringify(turn.error, null, 2)}</pre>`}
    <div class="buttons"><${CopyButton} label="Copy as curl" withWords=${true} text=${() => curlOf(turn, header, api)} /></div>
  </div>`;
});

function Steps({ turn }) {
  const begun = Math.min(...turn.steps.map((step) => Date.parse(step.started_at)));
  const whole = Math.max(1, ...turn.steps.map((step) => Date.parse(step.started_at) - begun + (step.latency_ms ?? 0)));
  return html`<ol class="steps">${turn.steps.map((step) => {
    const left = ((Date.parse(step.started_at) - begun) / whole) * 100;
    const width = Math.max(1, ((step.latency_ms ?? 0) / whole) * 100);
    return html`<li><p><strong>${step.kind}</strong> ${step.model && html`<code>${step.model}</code>`} ${step.outcome !== "completed" && html`<span class="tag">${step.outcome}</span>`}
      <span class="faint">${showMilliseconds(step.latency_ms)}${step.usage ? ` · ${showAmount(step.usage.cost, step.usage.currency)}` : ""}</span></p>
      <div class="timing"><i class=${step.kind} style=${{ marginLeft: `${Math.min(99, left)}%`, width: `${Math.min(100 - Math.min(99, left), width)}%` }}></i></div></li>`;
  })}</ol>`;
}

/** The call that made this turn, as it can be made again; the key is left to the shell. */
export function curlOf(turn, header) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const body = { text: turn.user_message?.text ?? "", expected_revision: header.revision };
  return [
    `curl -sS -X POST ${quote(`${location.origin}/v1/sessions/${header.id}/messages`)}`,
    `-H "Authorization: Bearer $TURNLEDGER_KEY"`,
    `-H 'Content-Type: application/json'`,
    `-d ${quote(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

// One turn in all its detail: steps with timing, what each call was told and answered, what changed, what it took.

import { curlOf } from "../model/curl.js";
import { isFinal, latencyOf } from "../model/line.js";
import { sentence, whoIs } from "../model/changes.js";
import { counted, showAmount, showCount, showMilliseconds } from "../model/money.js";
import { exactly, timeOfDay } from "../model/time.js";
import { variableChanges } from "../model/variables.js";
import { Arguments } from "./approvals.js";
import { Call } from "./call.js";
import { CopyButton, html, Icon, memo, useEffect, usePanel } from "./parts.js";

export const Inspector = memo(({ turn, header, details, isLive }) => {
  const panel = usePanel();
  useEffect(() => {
    // Whatever could not be read without a connection is read when there is one again.
    if (turn !== null) panel.inspection.read(turn);
  }, [turn, isLive]);
  if (turn === null) {
    return html`<div class="empty small"><h3>No turn chosen</h3><p>Choose “Inspect this turn” below a turn to see its steps, its timing and what it took.</p></div>`;
  }
  return html`<div class="inspector">
    <h3>Turn ${turn.position + 1} <span class="tag">${turn.state.replace("_", " ")}</span></h3>
    <${Facts} turn=${turn} />
    <${Standing} turn=${turn} before=${details.before?.[turn.id]} />
    ${turn.steps.length > 0 && html`<h4>Steps</h4><${Steps} turn=${turn} details=${details} />`}
    ${(turn.approvals ?? []).length > 0 && html`<h4>Approvals</h4><ul class="plain">${turn.approvals.map((approval) => html`<li><code>${approval.tool}</code> ${approval.decision ?? "open"}<${Arguments} value=${approval.arguments} /></li>`)}</ul>`}
    ${turn.error && html`<h4>Error</h4><${Json} value=${turn.error} label="Error" />`}
    <${Events} events=${details.events?.[turn.id]} />
    <div class="buttons">
      <${CopyButton} label="Copy as curl" withWords=${true} text=${() => curlOf(turn, header, location.origin)} />
      <${CopyButton} label="Copy as JSON" withWords=${true} text=${() => JSON.stringify(turn, null, 2)} />
    </div>
  </div>`;
});

function Facts({ turn }) {
  const { usage } = turn;
  return html`<dl class="pairs">
    <div><dt>Begun</dt><dd>${exactly(turn.created_at)}${turn.created_by.on_behalf_of ? ` by ${whoIs(turn.created_by)}` : ""}</dd></div>
    ${turn.finished_at && html`<div><dt>Ended</dt><dd>${exactly(turn.finished_at)}</dd></div>`}
    <div><dt>Calls</dt><dd>${counted(turn.steps.length, "step")}, ${showMilliseconds(latencyOf(turn))}</dd></div>
    ${usage && html`<div><dt>Tokens</dt><dd>${showCount(usage.input_tokens)} in (${showCount(usage.cached_tokens)} cached), ${showCount(usage.output_tokens)} out (${showCount(usage.reasoning_tokens)} reasoning)</dd></div>
    <div><dt>Cost</dt><dd>${showAmount(usage.cost, usage.currency)}</dd></div>`}
    ${turn.copied_from && html`<div><dt>Copied from</dt><dd><code>${turn.copied_from}</code></dd></div>`}
    <div><dt>Id</dt><dd><code>${turn.id}</code></dd></div>
  </dl>`;
}

function Steps({ turn, details }) {
  const begun = Math.min(...turn.steps.map((step) => Date.parse(step.started_at)));
  const whole = Math.max(1, ...turn.steps.map((step) => Date.parse(step.started_at) - begun + (step.latency_ms ?? 0)));
  return html`<ol class="steps">${turn.steps.map((step) => {
    const left = Math.min(99, ((Date.parse(step.started_at) - begun) / whole) * 100);
    const width = Math.min(100 - left, Math.max(1, ((step.latency_ms ?? 0) / whole) * 100));
    return html`<li key=${step.id}>
      <p><strong>${step.kind === "tool" ? (step.tool ?? "tool") : "model"}</strong> ${step.model && html`<code>${step.model}</code>`}
        ${step.outcome !== "completed" && html`<span class="tag">${step.outcome}</span>`}</p>
      <div class="timing"><i class=${step.kind} style=${{ marginLeft: `${left}%`, width: `${width}%` }}></i></div>
      <${Call} turn=${turn} step=${step} calls=${details.calls}
        figures=${`${showMilliseconds(step.latency_ms)}${step.usage ? ` · ${showAmount(step.usage.cost, step.usage.currency)}` : ""}`} />
    </li>`;
  })}</ol>`;
}

/** Where the agent stood before the turn and after it: its node, and each variable. */
function Standing({ turn, before }) {
  if (before === undefined) return html`<h4>Node and variables</h4><div class="skeleton half"></div>`;
  // A turn that names no node has changed neither node nor variables.
  const after = turn.node === null ? before : { node: turn.node, variables: turn.variables };
  const changes = variableChanges(before.variables, after.variables);
  return html`<h4 id="standing">Node and variables</h4>
    <table class="standing" aria-labelledby="standing">
      <thead><tr><td></td><th scope="col">before</th><th scope="col">after${isFinal(turn) ? "" : ", so far"}</th></tr></thead>
      <tbody>
        <tr data-kind=${before.node === after.node ? "same" : "changed"}><th scope="row">node</th><td><code>${before.node}</code></td><td><code>${after.node}</code></td></tr>
        ${changes.map(({ name, before: was, after: is, kind }) => html`<tr key=${name} data-kind=${kind}><th scope="row"><code>${name}</code></th><td>${shown(was)}</td><td>${shown(is)}</td></tr>`)}
      </tbody>
    </table>
    ${changes.length === 0 && html`<p class="faint">No variables are set.</p>`}`;
}

function shown(value) {
  if (value === undefined) return html`<span class="faint" aria-label="not set">–</span>`;
  return typeof value === "string" ? value : html`<code>${JSON.stringify(value)}</code>`;
}

function Events({ events }) {
  if (events === undefined || events.length === 0) return null;
  return html`<h4>Events</h4><ol class="events">${events.map((event) => html`<li><span class="faint">${event.revision}</span>
    <span title=${event.type}>${sentence(event)}</span><time class="faint" datetime=${event.at} title=${exactly(event.at)}>${timeOfDay(event.at)}</time></li>`)}</ol>`;
}

function Json({ value, label }) {
  return html`<pre tabindex="0" aria-label=${label}>${JSON.stringify(value, null, 2)}</pre>`;
}

/** The tools that a turn has called, in a line. */
export const Calls = memo(({ turn }) => {
  const panel = usePanel();
  const tools = turn.steps.filter((step) => step.kind === "tool");
  if (tools.length === 0 && (turn.notices ?? []).length === 0) return null;
  return html`<ul class="calls" aria-label="Tool calls">${tools.map((step) => html`<li><button type="button" class="quiet" data-outcome=${step.outcome} onClick=${() => panel.inspect(turn.id)}>
      <${Icon} name="gear" />${step.tool ?? "tool"}${step.outcome === "completed" ? "" : ` ${step.outcome}`}<span class="faint">${showMilliseconds(step.latency_ms)}</span></button></li>`)}
    ${(turn.notices ?? []).map((notice) => html`<li class="remark"><${Icon} name="warning" />${notice.message}</li>`)}</ul>`;
});

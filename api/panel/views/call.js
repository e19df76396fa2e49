// What one call was told and what it answered: a prompt with its sources and the response, or a tool's arguments
// and result. Read only when somebody wants to see it.

import { counted } from "../model/money.js";
import { html, usePanel, useState } from "./parts.js";

/** The details of a step, behind a button beside its figures. A tool's are told with the model call that asked for it. */
export function Call({ turn, step, calls, figures }) {
  const panel = usePanel();
  const [isOpen, setOpen] = useState(false);
  const isTool = step.kind === "tool";
  const source = isTool ? askedBy(turn, step) : step;
  const toggle = () => {
    setOpen(!isOpen);
    if (!isOpen) panel.inspection.readCall(source.id);
  };
  const words = isTool ? "Arguments and result" : "Prompt and answer";
  return html`<div class="step-foot">
      ${source !== null && html`<button type="button" class="link" aria-expanded=${String(isOpen)} onClick=${toggle}>${words}</button>`}
      <span class="figures">${figures}</span></div>
    ${isOpen && html`<${Opened} step=${step} isTool=${isTool} detail=${calls[source.id]} />`}`;
}

function Opened({ step, isTool, detail }) {
  if (detail === undefined) return html`<div class="skeleton half"></div>`;
  if (detail.trouble) return html`<p class="bad-words">${detail.trouble}</p>`;
  return isTool ? html`<${ToolCall} step=${step} value=${detail.value} />` : html`<${ModelCall} value=${detail.value} />`;
}

function ModelCall({ value }) {
  const { prompt, response, context_pack: pack } = value;
  return html`<div class="call">
    <p class="faint">${whatFor(value)}</p>
    ${prompt === null ? html`<p class="faint">The prompt cannot be shown any more${value.prompt_difference ? `: ${value.prompt_difference}` : "."}</p>`
      : html`${value.prompt_is_exact === false && html`<p class="bad-words">This is not exactly what was sent: ${value.prompt_difference}</p>`}
        <h5>Instructions</h5><pre tabindex="0" aria-label="Instructions">${prompt.instructions || "none"}</pre>
        <h5>Messages</h5><ol class="messages">${prompt.messages.map((message) => html`<li><strong>${message.role}</strong> <span>${textOf(message)}</span></li>`)}</ol>
        ${prompt.tools.length > 0 && html`<h5>Tools on offer</h5><p>${prompt.tools.map((tool) => html`<code>${tool.name}</code> `)}</p>`}
        ${prompt.answer_schema && html`<h5>Schema of the answer</h5><pre tabindex="0" aria-label="Schema of the answer">${JSON.stringify(prompt.answer_schema, null, 2)}</pre>`}`}
    ${pack && html`<p class="faint">Made of ${counted(pack.turn_ids.length, "turn")}${fieldsOf(pack)}.</p>`}
    ${response && html`${response.reasoning && html`<h5>Reasoning</h5><pre tabindex="0" aria-label="Reasoning">${response.reasoning}</pre>`}
      <h5>Answer${response.finish_reason ? ` (${response.finish_reason.replace("_", " ")})` : ""}</h5><pre tabindex="0" aria-label="Answer">${response.text || "no text"}</pre>`}
    ${(value.tool_calls ?? []).map((call) => html`<p>asked for <code>${call.name}</code> <code>${call.arguments}</code></p>`)}
  </div>`;
}

function ToolCall({ step, value }) {
  const asked = (value.tool_calls ?? []).flatMap((call) => call.attempts);
  const attempt = asked.find((one) => one.step_id === step.id);
  if (attempt === undefined) return html`<p class="faint">Nothing is kept of this call.</p>`;
  return html`<div class="call">
    <h5>Arguments</h5><pre tabindex="0" aria-label="Arguments">${JSON.stringify(attempt.arguments, null, 2)}</pre>
    <h5>Result${attempt.outcome ? ` (${attempt.outcome})` : ""}</h5><pre tabindex="0" aria-label="Result">${attempt.content ?? "none yet"}</pre>
  </div>`;
}

/** What the call was made for, where, and by whom it was answered. */
function whatFor({ purpose, node, attempt, answering_model: answering, model }) {
  const parts = [`Made for: ${purpose ?? "unknown"}`];
  if (node !== null) parts.push(`in node ${node}`);
  if (answering !== null && !model.endsWith(answering)) parts.push(`answered by ${answering}`);
  if (attempt > 1) parts.push(`attempt ${attempt}`);
  return `${parts.join(", ")}.`;
}

/** The model call before a tool call, which asked for it. */
function askedBy(turn, step) {
  const before = turn.steps.slice(0, turn.steps.indexOf(step));
  return before.findLast((one) => one.kind === "model") ?? null;
}

function textOf(message) {
  const calls = (message.tool_calls ?? []).map((call) => `→ ${call.name} ${call.arguments}`);
  return [message.text, ...calls].filter((part) => part !== "").join("\n");
}

function fieldsOf(pack) {
  const fields = [...(pack.context_fields ?? []), ...(pack.variables ?? [])];
  return fields.length === 0 ? "" : `, with ${fields.join(", ")}`;
}

// One turn: what was said, what was answered, how it stands, and what can be done about it.

import { isFinal, latencyOf } from "../model/line.js";
import { showAmount, showCount, showMilliseconds } from "../model/money.js";
import { unfinishedText } from "../model/session.js";
import { ago, exactly } from "../model/time.js";
import { Approvals } from "./approvals.js";
import { Calls } from "./inspector.js";
import { Intent } from "./intent.js";
import { Markdown } from "./markdown.js";
import { CopyButton, html, Icon, IconButton, memo, usePanel, useAtOnce, useRef } from "./parts.js";

/** A turn that is not known yet: its place, so that the list has its length. */
export const Unknown = memo(({ position, count }) => html`<div class="slot" data-position=${position}>
  <article class="turn unknown" aria-posinset=${position + 1} aria-setsize=${count} aria-label=${`Turn ${position + 1}, loading`} tabindex="-1">
    <div class="turn-number">${position + 1}</div>
    <div class="turn-body"><div class="skeleton short"></div><div class="skeleton"></div><div class="skeleton half"></div></div>
  </article>
</div>`);

export const Turn = memo(({ turn, count, isOut, isLast, isOpen, said, isActive, isQueued, intent, revision, speaker }) => {
  const label = `Turn ${turn.position + 1}, ${stateWords(turn, isActive, isQueued)}`;
  return html`<div class="slot" data-position=${turn.position}>
    <article class="turn" data-state=${turn.state} data-out=${isOut ? "" : undefined} data-last=${isLast ? "" : undefined} tabindex="-1" aria-label=${label}
      aria-posinset=${turn.position + 1} aria-setsize=${count}>
      <div class="turn-number" title=${exactly(turn.created_at)}>${turn.position + 1}</div>
      <div class="turn-body">
        ${intent?.kind === "edit" ? html`<${Editor} turn=${turn} intent=${intent} revision=${revision} />` : html`<${Said} turn=${turn} />`}
        <${Calls} turn=${turn} />
        <${Answer} turn=${turn} said=${said} speaker=${speaker} isActive=${isActive} isQueued=${isQueued} />
        <${State} turn=${turn} canRetry=${isOpen && isLast} isQueued=${isQueued} isOpen=${isOpen} />
        <${Approvals} turn=${turn} isOpen=${isOpen} />
        ${intent !== null && intent.kind !== "edit" && html`<${Intent} intent=${intent} revision=${revision} place=${turn.position + 1} />`}
        ${isFinal(turn) && intent === null && html`<${Actions} turn=${turn} isOpen=${isOpen} isLast=${isLast} isOut=${isOut} />`}
      </div>
    </article>
  </div>`;
});

function Said({ turn }) {
  if (turn.user_message === null) return null;
  const { speaker, text } = turn.user_message;
  return html`<div class="said">
    <span class=${speaker ? "speaker" : "visually-hidden"}>${speaker ?? "You"}</span>
    <p>${text}</p>
  </div>`;
}

function Answer({ turn, said, speaker, isActive, isQueued }) {
  if (isFinal(turn)) {
    return turn.replies.map((reply) => html`<div class="reply">
      <div class="speaker">${reply.speaker}${reply.truncated ? html`<span class="tag">cut off</span>` : null}</div>
      <${Markdown} text=${reply.text} />
    </div>`);
  }
  const text = unfinishedText(turn, said);
  const isWaiting = turn.state === "awaiting_approval";
  if (text !== "") return html`<div key="live" class=${isWaiting ? "reply" : "reply live"}><div class="speaker">${speaker}</div><${Markdown} text=${text} /></div>`;
  if (isQueued || isWaiting || !isActive) return null;
  return html`<div key="waiting" class="reply waiting" role="status"><div class="speaker">${speaker}</div><span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>
    <span class="visually-hidden">Waiting for the answer</span></div>`;
}

function State({ turn, canRetry, isQueued, isOpen }) {
  const panel = usePanel();
  const retry = canRetry && html`<button type="button" onClick=${() => panel.commands.retry(turn.id)}>
    <${Icon} name="again" />Try again</button>`;
  if (turn.state === "failed") {
    return html`<div class="notice bad" role="group" aria-label="The turn failed">
      <p><strong>This turn failed.</strong> ${turn.error?.message ?? ""}
        ${turn.error?.code && html`<code class="code-word">${turn.error.code}${turn.error.provider_status ? ` ${turn.error.provider_status}` : ""}</code>`}</p>
      ${retry}
    </div>`;
  }
  if (turn.state === "cancelled") {
    return html`<div class="notice"><p>${turn.replies.length > 0 ? "Stopped here; what was said stays." : "Stopped before anything was said."}</p>${retry}</div>`;
  }
  if (isQueued) {
    return html`<div class="notice"><p>Waits for the turn before it.</p>
      ${isOpen && html`<button type="button" onClick=${() => panel.commands.stop(turn.id)}>Take it back</button>`}</div>`;
  }
  return null;
}

function Actions({ turn, isOpen, isLast, isOut }) {
  const panel = usePanel();
  const { commands } = panel;
  const text = () => turn.replies.map((reply) => reply.text).join("\n\n") || (turn.user_message?.text ?? "");
  const intend = (kind, more = {}) => commands.intend({ kind, turnId: turn.id, position: turn.position, ...more });
  return html`<div class="actions" role="group" aria-label=${`Actions on turn ${turn.position + 1}`}>
    ${isOpen && turn.user_message !== null &&
    html`<${IconButton} icon="edit" label="Edit" text=${true} onClick=${() => intend("edit", { text: turn.user_message.text })} />`}
    ${isOpen && html`<${IconButton} icon="again" label="Run again" text=${true} onClick=${() => intend("regenerate")} />`}
    ${isOpen && !isLast &&
    html`<${IconButton} icon="rewind" label=${isOut ? "Move forward to here" : "Rewind to here"} text=${true} onClick=${() => intend("rewind")} />`}
    ${isOpen && turn.position === 0 && !isOut &&
    html`<${IconButton} icon="start" label="Rewind to the start" text=${!isLast ? false : true} onClick=${() =>
      commands.intend({ kind: "rewind", turnId: null, anchor: turn.id, position: -1 })} />`}
    <${CopyButton} text=${text} label="Copy text" />
    <${IconButton} icon="fork" label="Fork a new session from here" onClick=${() => panel.forkFrom(turn.id)} />
    <${IconButton} icon="inspect" label="Inspect this turn" onClick=${() => panel.inspect(turn.id)} />
    <${Cost} turn=${turn} />
  </div>`;
}

function Cost({ turn }) {
  const latency = latencyOf(turn);
  const when = html`<time datetime=${turn.created_at} title=${exactly(turn.created_at)}>${ago(turn.created_at)}</time>`;
  if (turn.usage === null) return html`<span class="turn-cost">${when}</span>`;
  const { input_tokens: input, output_tokens: output, cost, currency, unknown_count: unknown } = turn.usage;
  const title = `${showCount(input)} input and ${showCount(output)} output tokens, ${cost ?? "unknown"} ${currency}`;
  return html`<span class="turn-cost" title=${title}>
    ${when}<span>${showCount(input + output)} tokens</span>
    ${latency !== null && html`<span>${showMilliseconds(latency)}</span>`}
    <strong>${cost === null ? "cost unknown" : showAmount(cost, currency)}${unknown > 0 && cost !== null ? " +?" : ""}</strong>
  </span>`;
}

function Editor({ turn, intent, revision }) {
  const panel = usePanel();
  const area = useRef(null);
  useAtOnce(() => {
    area.current.focus();
    area.current.setSelectionRange(intent.text.length, intent.text.length);
  }, []);
  const write = (event) => panel.commands.dispatch({ type: "session/intent-part", part: { text: event.target.value } });
  const onKeyDown = (event) => {
    if (event.key === "Escape") panel.commands.dropIntent();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) panel.commands.confirm();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class="editor">
    <label class="visually-hidden" for="edited">Other words for turn ${turn.position + 1}</label>
    <textarea id="edited" ref=${area} rows=${Math.min(12, intent.text.split("\n").length + 1)} value=${intent.text} onInput=${write} onKeyDown=${onKeyDown}></textarea>
    <${Intent} intent=${intent} revision=${revision} place=${turn.position + 1} />
  </div>`;
}

function stateWords(turn, isActive, isQueued) {
  if (isQueued) return "waiting";
  if (isActive && turn.state === "pending") return "being answered";
  return turn.state.replace("_", " ");
}

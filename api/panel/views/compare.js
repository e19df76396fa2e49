// A discarded future beside the line: the same places next to each other, word by word, with what each took.

import { sessionHash } from "../core/routes.js";
import { diffWords, likeness } from "../model/diff.js";
import { sumOf } from "../model/costs.js";
import { latencyOf } from "../model/line.js";
import { counted, showAmount, showCount, showMilliseconds, subtractAmounts } from "../model/money.js";
import { Intent } from "./intent.js";
import { html, Icon, IconButton, memo, useAtOnce, useEffect, usePanel, useState } from "./parts.js";

const ROWS = 40;

export const Compare = memo(({ open, ordinal }) => {
  const panel = usePanel();
  const [rows, setRows] = useState(ROWS);
  const future = open.futures.find((one) => one.ordinal === ordinal);
  useEffect(() => {
    if (future === undefined) return;
    panel.conversation?.readFuture(future, { isAll: true });
    panel.conversation?.ensure(from, open.line.count);
  }, [future, open.header?.revision]);
  useAtOnce(() => document.getElementById("main").focus(), []);
  if (open.phase !== "ready") return html`<div class="compare"><div class="skeleton"></div></div>`;
  const from = future === undefined ? 0 : Math.min(open.points[ordinal] ?? future.branch_point, future.branch_point);
  if (future === undefined) {
    return html`<div class="compare"><div class="empty page"><h1>Discarded future ${ordinal} is not there any more</h1><p>It was restored; what it displaced is a future of its own now.</p><a class="button" href=${sessionHash(open.id)}>Back to the conversation</a></div></div>`;
  }
  const theirs = new Map((open.futureTurns[ordinal]?.turns ?? []).map((turn) => [turn.position, turn]));
  const end = Math.max(open.line.count, future.branch_point + future.turn_count);
  const positions = Array.from({ length: Math.max(0, Math.min(end - from, rows)) }, (_, at) => from + at);
  const intent = open.intent?.kind === "restore" && open.intent.ordinal === ordinal ? open.intent : null;
  const left = sumOf([...theirs.values()]);
  const ours = [...open.line.turns.values()].filter((turn) => turn.position >= from);
  const right = sumOf(ours);
  return html`<section class="compare" aria-label=${`Discarded future ${ordinal} beside the line`}>
    <header class="head">
      <a class="button quiet" href=${sessionHash(open.id)}><${Icon} name="back" />Back</a>
      <div class="head-words"><h1>Future ${ordinal} beside the line</h1><p class="faint">They part ${from === 0 ? "at the start" : `after turn ${from}`}.</p></div>
      ${open.header.state === "open" && intent === null && html`<button type="button" class="primary" onClick=${() => panel.commands.intend({ kind: "restore", ordinal })}><${Icon} name="rewind" />Restore future ${ordinal}</button>`}
    </header>
    <div class="compare-scroll" tabindex="0" role="region" aria-label="Comparison">
      ${intent !== null && html`<${Intent} intent=${intent} revision=${open.header.revision} place=${0} />`}
      <div class="compare-grid sums">
        <${Sum} name=${`Future ${ordinal}`} count=${future.turn_count} sum=${left} kind="left" />
        <${Sum} name="The line now" count=${ours.length} sum=${right} other=${left} kind="right" />
      </div>
      ${positions.map((position) => html`<${Pair} key=${position} position=${position} left=${theirs.get(position)} right=${open.line.turns.get(position)} cursor=${open.header.cursor} />`)}
      ${end - from > rows && html`<button type="button" class="wide" onClick=${() => setRows(rows + ROWS)}>Show further turns</button>`}
    </div>
  </section>`;
});

function Sum({ name, count, sum, other, kind }) {
  const more = other ? subtractAmounts(sum.cost ?? "0", other.cost ?? "0") : "0";
  const slower = other ? sum.latency - other.latency : 0;
  return html`<div class=${`sum ${kind}`}><h2>${name}</h2>
    <dl><div><dt>Turns</dt><dd>${showCount(count)}</dd></div>
      <div><dt>Cost</dt><dd>${showAmount(sum.cost, sum.currency)}<small>${more === "0" ? "" : `${more.startsWith("-") ? "" : "+"}${showAmount(more, sum.currency)}`}</small></dd></div>
      <div><dt>Tokens</dt><dd>${showCount(sum.input_tokens + sum.output_tokens)}</dd></div>
      <div><dt>Latency</dt><dd>${showMilliseconds(sum.latency)}<small>${slower === 0 ? "" : `${slower < 0 ? "−" : "+"}${showMilliseconds(Math.abs(slower))}`}</small></dd></div></dl></div>`;
}

const Pair = memo(({ position, left, right, cursor }) => {
  const said = diffWords(left?.user_message?.text ?? "", right?.user_message?.text ?? "");
  const answered = diffWords(answerOf(left), answerOf(right));
  const alike = Math.round(likeness(answered) * 100);
  return html`<section class="pair" aria-label=${`Turn ${position + 1} in both`}>
    <h3>Turn ${position + 1}${left && right ? html` <span class="faint">${alike === 100 ? "same answer" : `answers ${alike} % alike`}</span>` : null}</h3>
    <div class="compare-grid">
      <${Side} turn=${left} said=${said} answered=${answered} kind="left" none="The future has no such turn." />
      <${Side} turn=${right} said=${said} answered=${answered} kind="right" isOut=${position >= cursor} none="The line has no such turn." />
    </div>
  </section>`;
});

function Side({ turn, said, answered, kind, none, isOut = false }) {
  const panel = usePanel();
  if (turn === undefined) return html`<div class="side none"><p>${none}</p></div>`;
  return html`<div class=${`side ${kind}`} data-out=${isOut ? "" : undefined}>
    ${turn.user_message !== null && html`<p class="said-words"><${Words} pieces=${said} kind=${kind} /></p>`}
    ${turn.replies.length > 0 && html`<p class="reply-words"><${Words} pieces=${answered} kind=${kind} /></p>`}
    ${turn.state !== "completed" && html`<p><span class="tag">${turn.state}</span> ${turn.error?.message ?? ""}</p>`}
    <p class="faint side-foot"><span>${turn.usage === null ? "no call" : html`${showAmount(turn.usage.cost, turn.usage.currency)} · ${counted(turn.usage.input_tokens + turn.usage.output_tokens, "token")}`} · ${showMilliseconds(latencyOf(turn))}</span>
      <${IconButton} icon="inspect" label=${`Inspect turn ${turn.position + 1} of ${kind === "left" ? "the future" : "the line"}`} onClick=${() => panel.inspect(turn.id)} /></p>
  </div>`;
}

/** The words of one side; those that the other does not have are marked. */
function Words({ pieces, kind }) {
  return pieces.filter((piece) => piece.kind === "same" || piece.kind === kind).map((piece) => {
    if (piece.kind === "same" || piece.text.trim() === "") return html`<span>${piece.text}</span>`;
    return kind === "left" ? html`<del>${piece.text}</del>` : html`<ins>${piece.text}</ins>`;
  });
}

function answerOf(turn) {
  return turn?.replies.map((reply) => reply.text).join("\n\n") ?? "";
}

// Where one writes.

import { activeTurn, lastSaid } from "../model/line.js";
import { html, Icon, memo, useAtOnce, useRef, usePanel } from "./parts.js";

const HEIGHT_MAX = 220;

export const Composer = memo(({ open }) => {
  const { commands } = usePanel();
  const area = useRef(null);
  const { header, draft } = open;
  const isRunning = header.active_turn_id !== null;
  const isAsking = isRunning && activeTurn(open)?.state === "awaiting_approval";
  const isBusy = open.sending !== null;
  useAtOnce(() => {
    const { current } = area;
    current.style.height = "auto";
    current.style.height = `${Math.min(HEIGHT_MAX, current.scrollHeight)}px`;
  }, [draft]);
  useAtOnce(() => {
    // On a touch screen this would bring the keyboard up before anybody asked. Who came for a turn goes there.
    if (matchMedia("(pointer: fine)").matches && open.focus === null) area.current.focus();
  }, [open.id]);

  const send = (options) => {
    // What stands there, not what was drawn last: Enter may come within the same frame as the last letter.
    const text = area.current.value.trim();
    if (text !== "" && commands.open.sending === null) commands.send(text, options);
  };
  const onKeyDown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && area.current.value === "" && !event.altKey) {
      const turn = lastSaid(open.line, header.cursor);
      if (turn === null) return;
      event.preventDefault();
      commands.dispatch({ type: "session/focus", position: turn.position, part: "textarea" });
      commands.intend({ kind: "edit", turnId: turn.id, position: turn.position, text: turn.user_message.text });
    }
  };
  const behind = header.turn_count - header.cursor;
  return html`<form class="composer" onSubmit=${(event) => { event.preventDefault(); send(); }}>
    <label class="visually-hidden" for="draft">Your message</label>
    <textarea id="draft" ref=${area} rows="1" value=${draft} onKeyDown=${onKeyDown} autocomplete="off"
      placeholder=${placeholder(isRunning, isAsking, behind)} onInput=${(event) => commands.dispatch({ type: "session/draft", text: event.target.value })}></textarea>
    <div class="composer-buttons">
      ${isRunning && html`<button type="button" class="stop" onClick=${() => commands.stop()} title=${isAsking ? "Stop" : "Stop (Esc)"}><${Icon} name="stop" />Stop</button>`}
      ${isRunning && draft.trim() !== "" && html`<button type="button" onClick=${() => send({ ifActive: "interrupt" })}>Interrupt</button>`}
      <button type="submit" class="primary send" disabled=${draft.trim() === "" || isBusy} aria-label=${isRunning ? "Queue behind the running turn" : "Send"} title=${isRunning ? "Queue (Enter)" : "Send (Enter)"}><${Icon} name="send" /></button>
    </div>
  </form>
  <p class="hint" id="composer-hint"><kbd>Enter</kbd> ${isRunning ? "queues" : "sends"} <kbd>Shift Enter</kbd> new line ${isAsking ? null : isRunning ? html`<kbd>Esc</kbd> stops` : html`<kbd>↑</kbd> edits your last`} <span class="hint-right">revision ${header.revision}</span></p>`;
});

function placeholder(isRunning, isAsking, behind) {
  if (isAsking) return "Write ahead: it waits until the question above is decided";
  if (isRunning) return "Write ahead: it waits behind the running turn";
  if (behind > 0) return `Say something else: the ${behind === 1 ? "turn" : `${behind} turns`} out of effect will be kept as a discarded future`;
  return "Say something";
}

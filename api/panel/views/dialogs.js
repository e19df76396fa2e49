// Questions that stand in the way until they are answered.

import { explain } from "../core/problems.js";
import { Dialog, html, usePanel, useState } from "./parts.js";

const KINDS = { rename: Rename, end: End, delete: Delete, preferences: Preferences, shortcuts: Shortcuts };

export function Dialogs({ dialog, preferences }) {
  const panel = usePanel();
  if (dialog === null) return null;
  const isOpen = () => panel.state.dialog === dialog;
  const close = () => isOpen() && panel.dispatch({ type: "dialog", dialog: null });
  // Each is one of its own: asked for again while the last one is on its way out, it opens anew.
  return html`<${KINDS[dialog.kind]} key=${dialog} ...${dialog} preferences=${preferences} isOpen=${isOpen} close=${close} />`;
}

function Rename({ session, ...asked }) {
  const panel = usePanel();
  const [name, setName] = useState(session.name ?? "");
  return html`<${Ask} ...${asked} session=${session} title="Rename session" verb="Rename" act=${() => panel.sessions.rename(panel.current(session), name)}>
    <label>Name<input autofocus value=${name} maxlength="200" autocomplete="off" onInput=${(event) => setName(event.target.value)} /></label>
  <//>`;
}

function End({ session, ...asked }) {
  const panel = usePanel();
  const [resolution, setResolution] = useState("");
  return html`<${Ask} ...${asked} session=${session} title="End this session?" verb="End session" act=${() => panel.sessions.end(panel.current(session), resolution)}>
    <p>It stays readable and takes no further messages. A running turn is stopped. This cannot be undone.</p>
    <label>How it ended <span class="optional">optional</span><input autofocus value=${resolution} maxlength="1000" onInput=${(event) => setResolution(event.target.value)} /></label>
  <//>`;
}

function Delete({ session, ...asked }) {
  const panel = usePanel();
  const [isSure, setSure] = useState(false);
  return html`<${Ask} ...${asked} session=${session} title="Delete this session?" verb="Delete" isDangerous=${true} isReady=${isSure}
    act=${() => panel.removeSession(panel.current(session))}>
    <p>The text of <strong>${session.name ?? "this session"}</strong> is removed for good: every turn, every discarded future, every stored answer. What it has cost stays in the ledger. <strong>There is no undo.</strong></p>
    <label class="check"><input autofocus type="checkbox" checked=${isSure} onChange=${(event) => setSure(event.target.checked)} />Yes, delete ${session.turn_count === 1 ? "its turn" : `all of its ${session.turn_count} turns`}</label>
  <//>`;
}

/** A question with two answers; what the service objects to is shown, and nothing that was typed is lost. */
function Ask({ session, isOpen, close, title, verb, act, children, isDangerous = false, isReady = true }) {
  const panel = usePanel();
  const [trouble, setTrouble] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await act();
      close();
    } catch (error) {
      // Put away meanwhile, and perhaps another has taken its place: nobody would see it here.
      if (!isOpen()) return panel.tell(session, error);
      setBusy(false);
      const isStale = error.isStale === true;
      setTrouble(isStale ? "The session has changed meanwhile. Look at it, and confirm once more." : explain(error));
      if (isStale) {
        await panel.sessions.refresh();
        panel.conversation?.sync();
      }
    }
  };
  return html`<${Dialog} title=${title} onClose=${close}><form onSubmit=${submit}>
    ${children}
    ${trouble && html`<p class="bad-words" role="alert">${trouble}</p>`}
    <div class="buttons end"><button type="button" onClick=${close}>Cancel</button>
      <button type="submit" class=${isDangerous ? "primary danger" : "primary"} disabled=${isBusy || !isReady}>${verb}</button></div>
  </form><//>`;
}

function Preferences({ preferences, close }) {
  const panel = usePanel();
  return html`<${Dialog} title="Preferences" onClose=${close}>
    <fieldset class="choices"><legend>Theme</legend>
      ${["auto", "light", "dark"].map((theme) => html`<label class="check"><input type="radio" name="theme" checked=${preferences.theme === theme} onChange=${() => panel.prefer({ theme })} />${{ auto: "As the system", light: "Light", dark: "Dark" }[theme]}</label>`)}
    </fieldset>
    <label>Your name <span class="optional">told to others beside what you change</span>
      <input value=${preferences.person} maxlength="80" autocomplete="name" onInput=${(event) => panel.prefer({ person: event.target.value })} /></label>
  <//>`;
}

const SHORTCUTS = [
  ["Enter", "send; while a turn is running, queue behind it"],
  ["Shift Enter", "a new line"],
  ["Esc", "stop the running turn, or put a preview away"],
  ["↑", "in an empty message: edit your last one"],
  ["Alt ↑  Alt ↓", "previous and next turn"],
  ["Alt N", "new session"],
  ["/", "search sessions"],
  ["?", "this list"],
];

function Shortcuts({ close }) {
  return html`<${Dialog} title="Keyboard shortcuts" onClose=${close}>
    <dl class="shortcuts">${SHORTCUTS.map(([keys, does]) => html`<div><dt>${keys.split(/ {2}/).map((one) => html`<kbd>${one}</kbd>`)}</dt><dd>${does}</dd></div>`)}</dl>
  <//>`;
}

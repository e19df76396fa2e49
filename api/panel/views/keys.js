// Keys that work wherever one is.

import { go } from "../core/routes.js";
import { activeTurn } from "../model/line.js";

/** Listen for as long as the page stands; gives what stops it. */
export function listenToKeys(panel) {
  const onKeyDown = (event) => {
    // What is open is the page's to say: a dialog that Escape has closed is in the state for a moment longer.
    const isAsking = document.querySelector("dialog[open]") !== null;
    if (event.defaultPrevented || isAsking || panel.state.key === null) return;
    const isWriting = /^(?:INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const act = actionFor(panel, event, isWriting);
    if (act === null) return;
    event.preventDefault();
    act();
  };
  addEventListener("keydown", onKeyDown);
  return () => removeEventListener("keydown", onKeyDown);
}

function actionFor(panel, event, isWriting) {
  const { open } = panel.state;
  if (event.key === "Escape") {
    if (panel.state.drawer !== null) return () => panel.dispatch({ type: "drawer", drawer: null });
    if (open?.intent) return () => panel.commands.dropIntent();
    // A turn that waits for a decision is not running: a key pressed in passing must not take the question away.
    if (open?.header?.active_turn_id && activeTurn(open)?.state !== "awaiting_approval") return () => panel.commands.stop();
    return null;
  }
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    return open?.phase === "ready" ? () => panel.stepTurn(event.key === "ArrowUp" ? -1 : 1) : null;
  }
  if (event.altKey && event.code === "KeyN") return () => go("#/");
  if (isWriting || event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.key === "/") return () => document.getElementById("search")?.focus();
  if (event.key === "?") return () => panel.dispatch({ type: "dialog", dialog: { kind: "shortcuts" } });
  return null;
}

// The page as a whole.

import { Aside } from "./aside.js";
import { Compare } from "./compare.js";
import { ConversationView } from "./conversation.js";
import { Dialogs } from "./dialogs.js";
import { listenToKeys } from "./keys.js";
import { html, PanelProvider, useAtOnce, useEffect, useState } from "./parts.js";
import { isAsideOpen } from "../model/state.js";
import { Sidebar } from "./sidebar.js";
import { SignIn } from "./signin.js";
import { Start } from "./start.js";
import { Waiting } from "./waiting.js";

export function App({ panel }) {
  const [state, setState] = useState(panel.state);
  useEffect(() => {
    const stop = panel.store.subscribe(setState);
    // What was dispatched between the first drawing and here.
    setState(panel.state);
    const unlisten = listenToKeys(panel);
    return () => {
      stop();
      unlisten();
    };
  }, []);
  const { open } = state;
  useEffect(() => {
    document.title = titleOf(state.route, open);
  }, [state.route.name, open?.header?.name, open?.header?.active_turn_id]);

  useAtOnce(() => {
    // What has slid in front of everything else is where one goes on.
    if (state.drawer === "sessions") document.getElementById("search")?.focus();
    else if (state.drawer === "aside") document.querySelector("[role=tab][aria-selected=true]")?.focus();
  }, [state.drawer]);

  if (state.key === null) return html`<${PanelProvider} value=${panel}><${SignIn} trouble=${state.signInTrouble} /><//>`;
  const isReady = open?.phase === "ready";
  const isComparing = state.route.name === "compare";
  const isBeside = isReady && (state.isNarrow || state.preferences.aside);
  return html`<${PanelProvider} value=${panel}>
    <div class="app" data-drawer=${state.drawer ?? ""} data-aside=${isBeside ? "" : undefined}>
      <button type="button" class="skip" onClick=${() => document.getElementById("main").focus()}>Skip to the conversation</button>
      <${Sidebar} list=${state.list} agents=${state.agents} openId=${open?.id ?? null} approvals=${state.approvals} isAtApprovals=${state.route.name === "approvals"} />
      <main id="main" tabindex="-1">
        ${state.route.name === "approvals" ? html`<${Waiting} approvals=${state.approvals} sessions=${state.list.items} agents=${state.agents} />`
          : open === null ? html`<${Start} agents=${state.agents} draft=${state.drafts[""] ?? ""} />`
          : isComparing ? html`<${Compare} open=${open} ordinal=${state.route.ordinal} />`
            : html`<${ConversationView} open=${open} agents=${state.agents} isOffline=${state.isOffline} isAsideOpen=${isAsideOpen(state)} />`}
      </main>
      ${isBeside && html`<${Aside} open=${open} tab=${state.asideTab} comparing=${isComparing ? state.route.ordinal : null} />`}
      ${state.drawer !== null && html`<button type="button" class="veil" aria-label="Close the side panel" onClick=${() => panel.dispatch({ type: "drawer", drawer: null })}></button>`}
    </div>
    <${Dialogs} dialog=${state.dialog} preferences=${state.preferences} />
    <div class="visually-hidden" aria-live="polite" aria-atomic="true">${state.announcement}</div>
  <//>`;
}

function titleOf(route, open) {
  if (route.name === "approvals") return "Approvals – Turnledger";
  if (open?.header == null) return "Turnledger";
  return `${open.header.active_turn_id === null ? "" : "… "}${open.header.name ?? "Session"} – Turnledger`;
}

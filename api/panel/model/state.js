// The whole state of the panel, and what each action makes of it.

import { reduceSession, unopened } from "./session.js";

/** The state before anything is known. */
export function initialState({ key, preferences, route }) {
  return {
    key,
    signInTrouble: null,
    preferences,
    route,
    agents: { items: null, versions: {}, trouble: null },
    list: {
      items: [],
      nextToken: null,
      phase: "loading", // loading | ready | failed
      trouble: null,
      filter: { q: "", state: "", agentId: "", period: "", cost: "" },
      costs: {}, // by session: { revision, cost }
    },
    approvals: { items: null, hasMore: false, names: {}, trouble: null }, // what waits for a decision, anywhere
    open: null,
    drafts: {}, // by session: what was being written when it was left; "" is a session to come
    dialog: null, // { kind, ... }
    drawer: null, // on narrow screens: "sessions" | "aside"
    asideTab: "futures", // futures | money | turn
    isOffline: false,
    isNarrow: false, // there is no room for the side panel beside the conversation
    announcement: "",
  };
}

const HANDLERS = {
  "access/key": (state, { key }) => ({ ...state, key, signInTrouble: null }),
  "access/refused": (state, { trouble }) => ({ ...state, key: null, signInTrouble: trouble, open: null }),
  preferences: (state, { preferences }) => ({ ...state, preferences }),
  route: (state, { route }) => ({ ...state, route, drawer: null }),
  agents: (state, { part }) => ({ ...state, agents: { ...state.agents, ...part } }),
  "agents/versions": (state, { agentId, versions }) => ({
    ...state,
    agents: { ...state.agents, versions: { ...state.agents.versions, [agentId]: versions } },
  }),
  list: (state, { part }) => ({ ...state, list: { ...state.list, ...part } }),
  "list/cost": (state, { id, revision, cost }) => ({
    ...state,
    list: { ...state.list, costs: { ...state.list.costs, [id]: { revision, cost } } },
  }),
  approvals: (state, { part }) => ({ ...state, approvals: { ...state.approvals, ...part } }),
  "session/open": (state, { id }) => ({
    ...state,
    drafts: draftsOf(state),
    // No turn of another session is chosen.
    asideTab: state.asideTab === "turn" ? "futures" : state.asideTab,
    open: unopened(id, draftsOf(state)[id] ?? ""),
  }),
  "session/close": (state) => ({ ...state, drafts: draftsOf(state), open: null }),
  draft: (state, { id, text }) => ({ ...state, drafts: { ...state.drafts, [id]: text } }),
  dialog: (state, { dialog }) => ({ ...state, dialog }),
  drawer: (state, { drawer }) => ({ ...state, drawer }),
  aside: (state, { tab }) => ({ ...state, asideTab: tab }),
  offline: (state, { isOffline }) => ({ ...state, isOffline }),
  narrow: (state, { isNarrow }) => ({ ...state, isNarrow }),
  announce: (state, { text }) => ({ ...state, announcement: text }),
};

/** The next state. */
export function reduce(state, action) {
  const handle = HANDLERS[action.type];
  if (handle !== undefined) return handle(state, action);
  const open = reduceSession(state.open, action);
  return open === state.open ? state : { ...state, open };
}

/** Whether the side panel is on the screen. */
export function isAsideOpen(state) {
  return state.isNarrow ? state.drawer === "aside" : state.preferences.aside;
}

function draftsOf(state) {
  if (state.open === null) return state.drafts;
  return { ...state.drafts, [state.open.id]: state.open.draft };
}

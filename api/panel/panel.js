// The panel itself: its state, the calls it makes, and what hangs together between them.

import { Api } from "./core/api.js";
import { forgetKey, keepKey } from "./core/access.js";
import { keepPreferences } from "./core/preferences.js";
import { explain } from "./core/problems.js";
import { go, routeOf, sessionHash } from "./core/routes.js";
import { createStore } from "./core/store.js";
import { Approvals } from "./actions/approvals.js";
import { Commands } from "./actions/commands.js";
import { Conversation } from "./actions/conversation.js";
import { Inspection } from "./actions/inspection.js";
import { Ledger } from "./actions/ledger.js";
import { Sessions } from "./actions/sessions.js";
import { initialState, isAsideOpen, reduce } from "./model/state.js";

const LOOK_MS = 15_000;
const NARROW = "(max-width: 1100px)";

export class Panel {
  constructor({ key, preferences }) {
    this.store = createStore(reduce, initialState({ key, preferences, route: routeOf(location.hash) }));
    this.sessions = new Sessions(this);
    this.approvals = new Approvals(this);
    this.conversation = null;
    this.commands = null;
    this.ledger = null;
    this.inspection = null;
    this.makeApi();
  }

  get state() {
    return this.store.state;
  }

  dispatch(action) {
    this.store.dispatch(action);
  }

  /** Begin: read what there is, go where the address says. */
  start() {
    addEventListener("hashchange", () => this.arrive());
    const tell = () => this.dispatch({ type: "offline", isOffline: !navigator.onLine });
    addEventListener("online", tell);
    addEventListener("offline", tell);
    tell();
    const narrow = matchMedia(NARROW);
    const measure = () => this.dispatch({ type: "narrow", isNarrow: narrow.matches });
    narrow.addEventListener("change", measure);
    measure();
    this.watch();
    this.enter();
  }

  /** With a key: read agents and sessions. */
  enter() {
    if (this.state.key === null) return;
    this.arrive();
    this.look();
    this.readAgents();
  }

  /** Look now and then, while someone is looking: what concerns all sessions has no stream. */
  watch() {
    const look = () => {
      if (!document.hidden && this.state.key !== null) this.look();
    };
    addEventListener("focus", look);
    addEventListener("online", look);
    setInterval(look, LOOK_MS);
  }

  look() {
    this.sessions.refresh();
    this.approvals.refresh();
  }

  signIn(key) {
    keepKey(key);
    this.dispatch({ type: "access/key", key });
    this.makeApi();
    this.enter();
  }

  signOut(trouble = null) {
    forgetKey();
    this.leave();
    this.dispatch({ type: "access/refused", trouble });
  }

  prefer(part) {
    const preferences = { ...this.state.preferences, ...part };
    keepPreferences(preferences);
    this.dispatch({ type: "preferences", preferences });
    this.api.person = preferences.person;
  }

  announce(text) {
    this.dispatch({ type: "announce", text });
  }

  makeApi() {
    this.api = new Api({
      key: this.state.key,
      person: this.state.preferences.person,
      onUnauthorized: (problem) => this.signOut(explain(problem)),
    });
  }

  /** Go where the address says. */
  arrive() {
    const route = routeOf(location.hash);
    this.dispatch({ type: "route", route });
    if (this.state.key === null) return;
    if (route.id === undefined) {
      this.leave();
    } else if (this.state.open?.id !== route.id) {
      this.leave();
      this.dispatch({ type: "session/open", id: route.id });
      this.conversation = new Conversation(this, route.id);
      this.commands = new Commands(this, this.conversation);
      this.ledger = new Ledger(this, this.conversation);
      this.inspection = new Inspection(this, this.conversation);
      this.conversation.run();
    } else if (route.turnId !== undefined) {
      this.seekTurn(route.turnId);
    }
  }

  leave() {
    this.conversation?.close();
    this.conversation = null;
    if (this.state.open !== null) this.dispatch({ type: "session/close" });
  }

  /** The session was read for the first time. */
  opened(conversation) {
    this.readVersion(conversation.open.header.agent);
    const { turnId } = this.state.route;
    if (turnId !== undefined) this.seekTurn(turnId);
  }

  /** The open session is another than it was. */
  sessionChanged(conversation, before, after) {
    this.refreshRow(after);
    this.approvals.sessionChanged(after);
    const ended = after.turns.filter((turn) => turn.id === before.active_turn_id).at(-1);
    if (ended?.state === "completed") this.announce(`Reply: ${ended.replies.map((reply) => reply.text).join(" ").slice(0, 400)}`);
    else if (ended?.state === "failed") this.announce("The turn failed.");
    else if (ended?.state === "awaiting_approval") this.announce("The turn waits for your approval.");
    else if (ended?.state === "cancelled") this.announce("The turn was stopped.");
    const { intent } = conversation.open;
    if (intent !== null && !intent.isBusy && intent.preview?.revision !== after.revision) this.commands.preview();
    if (this.state.asideTab === "money") this.ledger.read();
  }

  /** A session was changed from the list; if it is open, it is known at once. */
  tookIn(id, delta) {
    if (this.conversation?.id === id) this.conversation.apply(delta);
  }

  /** Show what is known of the open session in its row of the list, without asking. */
  refreshRow(header) {
    const { items } = this.state.list;
    const fresh = ["revision", "state", "name", "cursor", "turn_count", "active_turn_id", "updated_at", "ended_at"];
    const changed = items.map((item) =>
      item.id === header.id ? { ...item, ...Object.fromEntries(fresh.map((name) => [name, header[name]])) } : item,
    );
    this.dispatch({ type: "list", part: { items: changed } });
  }

  // --- what views ask for -------------------------------------------------------------------------

  /** The header of a session as it is known now, for a call that must state its revision. */
  current(session) {
    const { open, list } = this.state;
    const listed = list.items.find((item) => item.id === session.id);
    const known = open?.id === session.id && open.header !== null ? open.header : (listed ?? session);
    return known;
  }

  /** Begin a new session with what was being written. */
  startWith(draft) {
    this.dispatch({ type: "draft", id: "", text: draft });
    go("#/");
  }

  keepDraft(id, text) {
    this.dispatch({ type: "draft", id, text });
    this.dispatch({ type: "draft", id: "", text: "" });
  }

  async forkFrom(turnId) {
    const id = await this.commands.fork(turnId);
    if (id === null) return;
    this.sessions.refresh();
    go(sessionHash(id));
  }

  async removeSession(session) {
    await this.sessions.remove(session);
    if (this.state.open?.id === session.id) go("#/");
  }

  async exportSession(session, file) {
    this.announce("Reading the whole session.");
    try {
      await this.sessions.export(session, file);
      this.announce("The file is there.");
    } catch (error) {
      this.tell(session, error);
    }
  }

  /** Say what went wrong with a session where it was asked for: in the conversation, or in the list. */
  tell(session, error) {
    const trouble = explain(error);
    this.announce(trouble);
    if (this.state.open?.id === session.id) this.dispatch({ type: "session/trouble", trouble });
    else this.dispatch({ type: "list", part: { trouble } });
  }

  /** Bring a turn of the line into view. */
  showTurn(position) {
    if (this.state.route.name === "compare") go(sessionHash(this.state.open.id));
    this.dispatch({ type: "drawer", drawer: null });
    this.dispatch({ type: "session/focus", position });
  }

  /** Bring a turn into view that is known by its id; if it asks something, its question. */
  async seekTurn(turnId) {
    const { conversation } = this;
    const position = await conversation.positionOf(turnId);
    if (position === null || this.conversation !== conversation) return;
    this.dispatch({ type: "session/focus", position, part: ".approval" });
  }

  /** To the turn before or after the one that has the focus, or that is seen last. */
  stepTurn(by) {
    const { open } = this.state;
    const slot = document.activeElement?.closest?.("[data-position]");
    const at = slot ? Number(slot.dataset.position) : open.line.count;
    const position = Math.max(0, Math.min(open.line.count - 1, at + by));
    if (open.line.count > 0) this.showTurn(position);
  }

  inspect(turnId) {
    this.dispatch({ type: "session/inspect", turnId });
    this.openAside("turn");
  }

  openAside(tab) {
    if (this.state.isNarrow) this.dispatch({ type: "drawer", drawer: "aside" });
    else this.prefer({ aside: true });
    this.showAside(tab);
  }

  hideAside() {
    if (this.state.isNarrow) this.dispatch({ type: "drawer", drawer: null });
    else this.prefer({ aside: false });
  }

  toggleAside() {
    if (isAsideOpen(this.state)) this.hideAside();
    else this.openAside(this.state.asideTab);
  }

  showAside(tab) {
    this.dispatch({ type: "aside", tab });
    if (tab === "money" && this.state.open?.phase === "ready") this.ledger.read();
  }

  async readAgents() {
    try {
      const items = [];
      let token = null;
      do {
        const page = await this.api.get("/v1/agents", { limit: 200, page_token: token });
        items.push(...page.items);
        token = page.next_page_token;
      } while (token !== null && items.length < 1_000);
      this.dispatch({ type: "agents", part: { items, trouble: null } });
    } catch (error) {
      this.dispatch({ type: "agents", part: { trouble: explain(error) } });
    }
  }

  /** Read the versions of an agent, newest first. */
  async readVersions(agentId) {
    if (this.state.agents.versions[agentId] !== undefined) return;
    try {
      const page = await this.api.get(`/v1/agents/${encodeURIComponent(agentId)}/versions`, { limit: 50 });
      this.dispatch({ type: "agents/versions", agentId, versions: page.items });
    } catch (error) {
      this.dispatch({ type: "agents", part: { trouble: explain(error) } });
    }
  }

  readVersion({ id }) {
    this.readVersions(id);
  }
}

// What a person does to the open session. Each call states the revision that was on the screen; a refusal
// loses nothing that was written, and the panel catches up before it asks what to do next.

import { newIdempotencyKey } from "../core/api.js";
import { Once } from "../core/once.js";
import { NoAnswer, Problem, explain } from "../core/problems.js";
import { counted } from "../model/money.js";

const AGAIN_MS = 1_500;
const OVERTAKEN_MAX = 3;
const PASSING_MAX = 5;

export class Commands {
  constructor(panel, conversation) {
    this.panel = panel;
    this.conversation = conversation;
    this.once = new Once();
  }

  get open() {
    return this.conversation.open;
  }

  dispatch(action) {
    this.conversation.dispatch(action);
  }

  // --- saying something ---------------------------------------------------------------------------

  /** Say something; while a turn is running it waits behind it, or takes its place with `interrupt`. */
  async send(text, { ifActive } = {}) {
    const { header } = this.open;
    const body = { text };
    if (header.active_turn_id !== null) body.if_active = ifActive ?? "enqueue";
    const discards = header.turn_count - header.cursor;
    const sending = { text, key: newIdempotencyKey(), state: "sent" };
    this.dispatch({ type: "session/sending", sending });
    this.dispatch({ type: "session/draft", text: "" });
    this.dispatch({ type: "session/conflict", conflict: null });
    this.dispatch({ type: "session/sending", sending });
    this.dispatch({ type: "session/undo", undo: null });
    try {
      const onUnanswered = () => this.dispatch({ type: "session/sending", sending: { ...sending, state: "unanswered" } });
      // What is said while a turn is running is said whether or not that turn has ended when it arrives.
      const delta = await overtaking(header.revision, header.active_turn_id !== null, (revision) =>
        this.deliver("/messages", body, revision, sending.key, onUnanswered),
      );
      this.dispatch({ type: "session/sending", sending: null });
      this.conversation.apply(delta);
      if (discards > 0) this.offerRestore(delta, discards);
    } catch (error) {
      if (this.conversation.closing.signal.aborted) return;
      this.dispatch({ type: "session/sending", sending: null });
      this.giveBack(text, error);
    }
  }

  /** Put a refused message back into the hands of who wrote it. */
  giveBack(text, error) {
    const written = this.open.draft;
    this.dispatch({ type: "session/draft", text: written.trim() === "" ? text : `${text}\n${written}` });
    if (error instanceof Problem && (error.isStale || error.code === "session-ended")) {
      this.dispatch({ type: "session/conflict", conflict: { problem: error.body } });
      this.panel.announce("Your message was not sent: the session has changed. Your draft is kept.");
      this.conversation.sync();
    } else {
      this.dispatch({ type: "session/trouble", trouble: explain(error) });
      this.conversation.sync();
    }
  }

  /** Send a refused message on what the session is now. */
  async sendAgain() {
    const { conflict, header } = this.open;
    // Mostly it is known already by now; then nobody waits for a reading that is under way.
    if (header.revision < (conflict?.problem.actual_revision ?? Infinity)) await this.conversation.sync();
    const text = this.open.draft.trim();
    if (text !== "") await this.send(text);
  }

  /** Let a refused message go. */
  discardDraft() {
    this.dispatch({ type: "session/conflict", conflict: null });
    this.dispatch({ type: "session/draft", text: "" });
  }

  /** Keep the draft and write on. */
  keepDraft() {
    this.dispatch({ type: "session/conflict", conflict: null });
  }

  // --- stopping and trying again ------------------------------------------------------------------

  /** Stop the running turn, or one that waits; what it has said stays. */
  async stop(turnId = this.open.header.active_turn_id) {
    if (turnId === null) return;
    await this.attempt(() => this.call("POST", `/turns/${turnId}/cancel`, {}));
  }

  /** Try the last turn again, which failed or was stopped. */
  async retry(turnId) {
    const { revision } = this.open.header;
    await this.attempt(async () => {
      await this.call("POST", `/turns/${turnId}/retry`, {}, { revision, prefer: "respond-async" });
      this.dispatch({ type: "session/undo", undo: null });
    });
  }

  // --- approvals ----------------------------------------------------------------------------------

  /** Approve or deny a tool call, as it was shown: the digest says which arguments were seen. */
  async decide(approval, { decision, note, always }) {
    const body = { decision, arguments_digest: approval.arguments_digest };
    if (note !== "") body.note = note;
    if (always) body.always = true;
    await this.attempt(async () => {
      const path = `/v1/approvals/${encodeURIComponent(approval.id)}/decision`;
      const idempotencyKey = newIdempotencyKey();
      this.conversation.apply(await this.panel.api.change("POST", path, body, { idempotencyKey }));
      this.panel.approvals.refresh();
      this.panel.announce(decision === "approved" ? "Approved." : "Denied.");
    });
  }

  // --- going back: first what would happen, then the doing ----------------------------------------

  /** Begin something that takes turns out of effect; nothing happens before `confirm`. */
  async intend(intent) {
    this.dispatch({ type: "session/intent", intent: { preview: null, trouble: null, changes: null, isBusy: false, ...intent } });
    await this.preview();
  }

  /** Read what the intended would do, as of now. */
  async preview() {
    const intent = this.open?.intent;
    if (!intent) return;
    const [path, query] = PREVIEWS[intent.kind](intent);
    try {
      const preview = await this.conversation.get(path, query);
      if (this.open?.intent?.kind === intent.kind) {
        this.dispatch({ type: "session/intent-part", part: { preview } });
      }
    } catch (error) {
      if (this.conversation.closing.signal.aborted) return;
      this.dispatch({ type: "session/intent-part", part: { preview: null, trouble: explain(error) } });
    }
  }

  /** Let it be. */
  dropIntent() {
    this.dispatch({ type: "session/intent", intent: null });
  }

  /** Do what was intended, at the revision of the preview that the person has seen. */
  async confirm() {
    const { intent, header } = this.open;
    if (intent === null || intent.preview === null || intent.isBusy) return;
    this.dispatch({ type: "session/intent-part", part: { isBusy: true, trouble: null } });
    const { preview } = intent;
    const [path, body] = DOINGS[intent.kind](intent);
    const prefer = intent.kind === "rewind" || intent.kind === "restore" ? undefined : "respond-async";
    try {
      const delta = await this.deliverOnce("POST", path, body, { revision: preview.revision, prefer });
      this.dispatch({ type: "session/intent", intent: null });
      this.dispatch({ type: "session/trouble", trouble: null });
      this.conversation.apply(delta);
      this.offerUndo(intent, header, delta);
    } catch (error) {
      if (this.conversation.closing.signal.aborted) return;
      const changes = error instanceof Problem && error.isStale ? error.body : null;
      const trouble = changes === null ? explain(error) : null;
      this.dispatch({ type: "session/intent-part", part: { isBusy: false, changes, trouble } });
      await this.conversation.sync();
      await this.preview();
    }
  }

  offerUndo(intent, before, delta) {
    const { turn_count: count } = intent.preview;
    const turns = counted(count, "turn");
    if (intent.kind === "rewind") {
      if (before.cursor === delta.cursor) return;
      const last = this.open.line.turns.get(before.cursor - 1);
      const label = delta.cursor < before.cursor ? `Rewound: ${turns} out of effect.` : "Moved forward again.";
      this.dispatch({
        type: "session/undo",
        undo: { kind: "cursor", label, turnId: before.cursor === 0 ? null : (last?.id ?? null), canDo: before.cursor === 0 || last !== undefined },
      });
    } else {
      const label = intent.kind === "restore" ? "Restored." : "Running it again.";
      const kept = count === 0 ? "" : ` ${turns} kept as discarded future ${delta.discarded_count}.`;
      this.dispatch({
        type: "session/undo",
        undo: { kind: "restore", label: label + kept, ordinal: delta.discarded_count, canDo: count > 0 },
      });
    }
    this.panel.announce("Done. You can undo it.");
  }

  offerRestore(delta, count) {
    this.dispatch({
      type: "session/undo",
      undo: {
        kind: "restore",
        label: `${counted(count, "turn")} kept as discarded future ${delta.discarded_count}.`,
        ordinal: delta.discarded_count,
        canDo: true,
      },
    });
  }

  /** Take the last step back. */
  async undo() {
    const { undo, header } = this.open;
    if (undo === null) return;
    await this.attempt(async () => {
      const [path, body] =
        undo.kind === "restore"
          ? ["/restore", { ordinal: undo.ordinal }]
          : ["/rewind", undo.turnId === null ? { to: "start" } : { turn_id: undo.turnId }];
      // It is taken back as well when the turn that it began has ended in the same moment.
      await overtaking(header.revision, header.active_turn_id !== null, (revision) => this.call("POST", path, body, { revision }));
      this.dispatch({ type: "session/undo", undo: null });
      this.panel.announce("Undone.");
    });
  }

  // --- the session itself -------------------------------------------------------------------------

  /** Begin a new session with copies of the turns up to one; gives its id. */
  async fork(turnId) {
    let made = null;
    await this.attempt(async () => {
      made = await this.deliverOnce("POST", "/fork", { turn_id: turnId }, {});
    });
    return made?.id ?? null;
  }

  // --- how calls are made -------------------------------------------------------------------------

  /** Make a call and take in what it changed. */
  async call(method, path, body, options = {}) {
    this.conversation.apply(await this.deliverOnce(method, path, body, options));
  }

  deliverOnce(method, path, body, options) {
    const whole = this.conversation.path + path;
    // Once the session has moved on, the same words are another call.
    const what = JSON.stringify([method, path, body, this.open.header.revision]);
    return this.once.make(what, (key) => this.panel.api.change(method, whole, body, { idempotencyKey: key, ...options }));
  }

  /** Do something, and say in words when it was refused. */
  async attempt(act) {
    this.dispatch({ type: "session/trouble", trouble: null });
    try {
      await act();
    } catch (error) {
      if (this.conversation.closing.signal.aborted) return;
      const isStale = error instanceof Problem && error.isStale;
      const trouble = isStale ? "The session has changed meanwhile; nothing was done. Look, and try again." : (MEANWHILE[error.code] ?? explain(error));
      this.dispatch({ type: "session/trouble", trouble });
      this.conversation.sync();
    }
  }

  /** Send until there is an answer: under its idempotency key a message is said once, however often it is sent. */
  async deliver(path, body, revision, idempotencyKey, onUnanswered) {
    for (let passing = 0; ; ) {
      try {
        return await this.deliverOnce("POST", path, body, { revision, idempotencyKey, prefer: "respond-async" });
      } catch (error) {
        const isPassing = error instanceof Problem && error.isPassing && (passing += 1) < PASSING_MAX;
        if (!(error instanceof NoAnswer) && !isPassing) throw error;
        onUnanswered();
      }
      await rest(AGAIN_MS);
      if (this.open === null || this.open.sending?.key !== idempotencyKey) {
        throw new DOMException("given up", "AbortError");
      }
    }
  }

  /** Stop trying to send what was not answered; it may have arrived all the same. */
  giveUpSending() {
    const { sending } = this.open;
    if (sending === null) return;
    this.dispatch({ type: "session/sending", sending: null });
    this.dispatch({ type: "session/draft", text: sending.text });
  }
}

/** What has happened to a question while somebody was about to answer it. */
const MEANWHILE = {
  "approval-decided": "Somebody else has decided this meanwhile; what they decided stands.",
  "approval-closed": "The turn has ended meanwhile; there is nothing to decide any more.",
  "approval-expired": "The time to decide is over; it counts as denied.",
};

const PREVIEWS = {
  rewind: ({ turnId }) => ["/rewind-preview", turnId === null ? { to: "start" } : { turn_id: turnId }],
  edit: ({ turnId }) => [`/turns/${turnId}/regenerate-preview`, {}],
  regenerate: ({ turnId }) => [`/turns/${turnId}/regenerate-preview`, {}],
  restore: ({ ordinal }) => ["/restore-preview", { ordinal }],
};

const DOINGS = {
  rewind: ({ turnId }) => ["/rewind", turnId === null ? { to: "start" } : { turn_id: turnId }],
  edit: ({ turnId, text }) => [`/turns/${turnId}/regenerate`, { text }],
  regenerate: ({ turnId }) => [`/turns/${turnId}/regenerate`, {}],
  restore: ({ ordinal }) => ["/restore", { ordinal }],
};

/** Make a call that means the same however the running turn ends: if nothing but that has happened, it is made again.
 *
 * What anybody else has done is for the person to see first.
 */
async function overtaking(revision, isRunning, call) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call(revision);
    } catch (error) {
      const isOvertaken = isRunning && error instanceof Problem && error.isStale && isByTheService(error.body.changes ?? []);
      if (!isOvertaken || tries === OVERTAKEN_MAX) throw error;
      revision = error.body.actual_revision;
    }
  }
}

function isByTheService(changes) {
  return changes.length > 0 && changes.every((change) => Boolean(change.actor.process));
}

function rest(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

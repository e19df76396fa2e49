// A new session: whom to talk to, what they are told, and off.

import { explain } from "../core/problems.js";
import { go, sessionHash } from "../core/routes.js";
import { html, Icon, IconButton, memo, useEffect, usePanel, useRef, useState } from "./parts.js";

const HINTS_MAX = 6;
const NO_FIELD = { name: "", value: "" };

export const Start = memo(({ agents, draft }) => {
  const panel = usePanel();
  const [chosen, setChosen] = useState({ agentId: null, version: null });
  const [name, setName] = useState("");
  const [fields, setFields] = useState(null); // null until somebody has touched them
  const [json, setJson] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const agentId = chosen.agentId ?? agents.items?.[0]?.id ?? null;
  const agent = agents.items?.find((item) => item.id === agentId);
  const versions = agents.versions[agentId] ?? null;
  const version = versions?.find((item) => item.version === (chosen.version ?? agent?.latest_version));
  useEffect(() => {
    if (agentId !== null) panel.readVersions(agentId);
  }, [agentId]);

  // Until another choice is known, what was shown stays.
  const known = useRef(null);
  known.current = version ?? known.current;
  const hints = hintsOf(known.current?.definition);
  const start = async (event) => {
    event.preventDefault();
    setTrouble(null);
    const context = contextOf(json, fields ?? []);
    if (context === null) {
      setTrouble("The context is not a JSON object.");
      return;
    }
    setBusy(true);
    try {
      const id = await panel.sessions.create({ agentId, version: chosen.version, name, context });
      if (draft) panel.keepDraft(id, draft);
      go(sessionHash(id));
    } catch (error) {
      setTrouble(explain(error));
      setBusy(false);
    }
  };

  // The form appears whole: what came later would push its button away from under the pointer.
  const isWhole = useRef(false);
  if (agents.items?.length === 0 || versions !== null || agents.trouble !== null) isWhole.current = true;
  if (agents.trouble !== null && agents.items === null) return html`<${NoAgents} words=${agents.trouble} />`;
  if (!isWhole.current) return html`<div class="start"><div class="skeleton short"></div><div class="skeleton"></div></div>`;
  if (agents.items.length === 0) return html`<${NoAgents} words="Publish one with POST /v1/agents, and it appears here." />`;
  return html`<div class="start"><form onSubmit=${start}>
    <div class="start-head"><${IconButton} icon="menu" label="Sessions" class="quiet square only-narrow" onClick=${() => panel.dispatch({ type: "drawer", drawer: "sessions" })} />
      <div><h1>New session</h1><p>Everything you try can be taken back. Nothing you discard is lost.</p></div></div>
    <div class="row">
      <label class="grow">Agent<select id="agent" value=${agentId} onChange=${(event) => setChosen({ agentId: event.target.value, version: null })}>
        ${agents.items.map((item) => html`<option value=${item.id}>${item.name}</option>`)}</select></label>
      <label>Version<select id="version" value=${chosen.version ?? ""} disabled=${versions === null}
        onChange=${(event) => setChosen({ agentId, version: event.target.value === "" ? null : Number(event.target.value) })}>
        <option value="">newest (${agent?.latest_version})</option>${(versions ?? []).map((item) => html`<option value=${item.version}>${item.version}</option>`)}</select></label>
    </div>
    ${known.current && html`<${AgentCard} definition=${known.current.definition} />`}
    <label>Name <span class="optional">optional</span><input id="name" value=${name} maxlength="200" placeholder="What are you trying?" autocomplete="off" onInput=${(event) => setName(event.target.value)} /></label>
    <fieldset><legend>Context <span class="optional">optional, what the agent is told about this session</span></legend>
      ${json === null ? html`<${Fields} fields=${fields} onChange=${setFields} hints=${hints} />`
        : html`<label class="visually-hidden" for="context-json">Context as JSON</label><textarea id="context-json" class="mono" rows="5" spellcheck="false" value=${json} onInput=${(event) => setJson(event.target.value)}></textarea>`}
      <div class="field-ways">${json === null && html`<button type="button" class="quiet" onClick=${() => setFields([...rowsOf(fields, hints), NO_FIELD])}><${Icon} name="plus" />Add a field</button>`}
      <button type="button" class="link" onClick=${() => setJson(json === null ? JSON.stringify(contextOf(null, fields ?? []), null, 2) : null)}>${json === null ? "Write it as JSON" : "Back to fields"}</button></div>
    </fieldset>
    ${trouble && html`<p class="bad-words" role="alert">${trouble}</p>`}
    ${draft && html`<p class="notice">Your draft comes along: “${draft.slice(0, 80)}${draft.length > 80 ? "…" : ""}”</p>`}
    <button type="submit" class="primary big" disabled=${isBusy}>${isBusy ? "One moment …" : "Start"}</button>
  </form></div>`;
});

function AgentCard({ definition }) {
  const nodes = definition.nodes?.length ?? 0;
  return html`<div class="agent-card">
    <p><code>${definition.model}</code>${nodes > 1 ? html` <span class="tag">${nodes} nodes</span>` : null}${typeof definition.greeting === "string" ? html` <span class="tag">greets</span>` : null}</p>
    ${definition.instructions && html`<p class="instructions">${definition.instructions}</p>`}
  </div>`;
}

function Fields({ fields, onChange, hints }) {
  const rows = rowsOf(fields, hints);
  const set = (at, part) => onChange(rows.map((field, index) => (index === at ? { ...field, ...part } : field)));
  return html`${rows.map((field, at) => html`<div class="row field">
    <input aria-label=${`Name of field ${at + 1}`} placeholder="customer" value=${field.name} autocomplete="off" onInput=${(event) => set(at, { name: event.target.value })} />
    <input class="grow" aria-label=${`Value of field ${at + 1}`} placeholder="Ada, who likes engines" value=${field.value} autocomplete="off" onInput=${(event) => set(at, { value: event.target.value })} />
    <${IconButton} icon="close" label=${`Remove field ${at + 1}`} onClick=${() => onChange(rows.filter((_, index) => index !== at))} />
  </div>`)}`;
}

/** The fields as they are shown: what the agent speaks of stands there before anything was written. */
function rowsOf(fields, hints) {
  return fields === null ? hints.map((name) => ({ name, value: "" })) : fields;
}

function NoAgents({ words }) {
  const panel = usePanel();
  return html`<div class="empty page"><${Icon} name="warning" /><h1>No agent to talk to</h1><p>${words}</p>
    <button type="button" onClick=${() => panel.readAgents()}>Look again</button></div>`;
}

/** The context as an object; null when what was written is none. `customer.name` is a field within a field. */
function contextOf(json, fields) {
  if (json === null) {
    const context = {};
    for (const { name, value } of fields) {
      const path = name.split(".").map((part) => part.trim());
      if (value.trim() === "" || path.includes("")) continue;
      let place = context;
      for (const part of path.slice(0, -1)) {
        if (typeof place[part] !== "object") place[part] = {};
        place = place[part];
      }
      place[path.at(-1)] = value;
    }
    return context;
  }
  try {
    const value = json.trim() === "" ? {} : JSON.parse(json);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** What the agent's words speak of, as in `{{customer.name | friend}}`: fields to begin with. */
function hintsOf(definition) {
  if (!definition) return [];
  const learned = new Set((definition.nodes ?? []).flatMap((node) => (node.extraction ?? []).map((one) => one.name)));
  const names = new Set();
  for (const [, name] of JSON.stringify(definition).matchAll(/\{\{\s*(?:context\.)?([a-z]\w*(?:\.\w+)*)/gi)) {
    const first = name.split(".")[0];
    if (!learned.has(first) && !["arguments", "secrets", "variables"].includes(first)) names.add(name);
  }
  return [...names].slice(0, HINTS_MAX);
}

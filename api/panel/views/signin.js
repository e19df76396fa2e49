// Before there is a key.

import { keyIn } from "../core/access.js";
import { html, usePanel, useState } from "./parts.js";

export function SignIn({ trouble }) {
  const panel = usePanel();
  const [text, setText] = useState("");
  const [isOdd, setOdd] = useState(false);
  const enter = (event) => {
    event.preventDefault();
    const key = keyIn(text);
    if (key === null) setOdd(true);
    else panel.signIn(key);
  };
  return html`<main class="sign-in" id="main" tabindex="-1"><form onSubmit=${enter}>
    <img src=${new URL("../icon.svg", import.meta.url).pathname} alt="" width="44" height="44" />
    <h1>Turnledger</h1>
    <p>Open the address that <code>serve</code> has printed, or paste it here. An API key will do as well.</p>
    ${trouble && html`<p class="bad-words" role="alert">${trouble}</p>`}
    <label for="key">Address or API key</label>
    <input id="key" type="password" autocomplete="off" spellcheck="false" value=${text} aria-invalid=${String(isOdd)}
      aria-describedby=${isOdd ? "key-odd" : undefined} onInput=${(event) => { setText(event.target.value); setOdd(false); }} />
    ${isOdd && html`<p class="bad-words" id="key-odd" role="alert">There is no key in that. A key begins with <code>tl_</code>.</p>`}
    <button type="submit" class="primary" disabled=${text.trim() === ""}>Enter</button>
    <p class="faint">The key stays in this tab and is forgotten when you close it.</p>
  </form></main>`;
}

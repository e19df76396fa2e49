// The key: it arrives in the fragment of the address, which no server is told, and lives as long as the tab.

const NAME = "turnledger.key";

/** Take the key out of the address, if there is one, and keep it for this tab. */
export function takeKey() {
  if (location.hash.includes("key=")) {
    const key = keyIn(location.hash);
    if (key !== null) sessionStorage.setItem(NAME, key);
    // What stays in the address ends up in the history, and in what people copy from it.
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(NAME);
}

/** Find a key in a printed address, a fragment, or text that is the key itself; null when there is none. */
export function keyIn(text) {
  const trimmed = text.trim();
  const found = /[#&]key=([^&\s]+)/.exec(trimmed);
  const key = found === null ? trimmed : found[1];
  return /^tl_[\x21-\x7e]+$/.test(key) ? key : null;
}

/** Keep a key that a person has typed. */
export function keepKey(key) {
  sessionStorage.setItem(NAME, key);
}

/** Forget the key. */
export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

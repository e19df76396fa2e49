// What a person likes on this machine; never anything secret.

const NAME = "turnledger.preferences";

export const PREFERENCES = { theme: "auto", person: "", aside: true };

/** Read the preferences; whatever cannot be read is as if it had never been chosen. */
export function readPreferences() {
  try {
    return { ...PREFERENCES, ...JSON.parse(localStorage.getItem(NAME) ?? "{}") };
  } catch {
    return PREFERENCES;
  }
}

/** Keep the preferences, and put the theme in force. */
export function keepPreferences(preferences) {
  document.documentElement.dataset.theme = preferences.theme;
  try {
    localStorage.setItem(NAME, JSON.stringify(preferences));
  } catch {
    // A browser that keeps nothing still shows the panel.
  }
}

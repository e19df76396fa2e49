// Where the panel begins.

import { html, render } from "./vendor/htm-preact-standalone.js";
import { takeKey } from "./core/access.js";
import { keepPreferences, readPreferences } from "./core/preferences.js";
import { Panel } from "./panel.js";
import { App } from "./views/app.js";

const preferences = readPreferences();
keepPreferences(preferences);
const root = document.getElementById("panel");
root.textContent = "";
const panel = new Panel({ key: takeKey(), preferences });
render(html`<${App} panel=${panel} />`, root);
panel.start();

// What an empty conversation shows: what this is, and a few ways to begin.

import { byId, el } from "./dom.js";

const SUGGESTIONS = [1, 2, 3, 4, 5, 6];

/** Builds the welcome once; `choose(key)` gets the word's key of the suggestion. */
export function buildWelcome(choose) {
  const cards = SUGGESTIONS.map((number) =>
    el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "suggestion", on: { click: () => choose(`suggestion_${number}`) } },
        el("strong", { say: `suggestion_${number}_title` }),
        el("span", { say: `suggestion_${number}` }),
      ),
    ),
  );
  byId("welcome").replaceChildren(
    el("h2", { say: "welcome_title" }),
    el("p", { class: "lead", say: "welcome_text" }),
    el("ul", { class: "suggestions", label: { "aria-label": "suggestions" } }, ...cards),
  );
}

export function showWelcome(isShown) {
  byId("welcome").hidden = !isShown;
  byId("thread").hidden = isShown;
}

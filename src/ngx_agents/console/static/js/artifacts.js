// A plan or report that a turn left, as a card that opens to something a person can read.

import { el, icon } from "./dom.js";
import { hasWord } from "./i18n.js";
import { mealFacts, mealPlan } from "./meals.js";
import { progressAnalysis, progressFacts } from "./progress.js";
import { readable } from "./readable.js";
import { trainingFacts, trainingPlan } from "./training.js";

const FORMS = {
  TrainingPlan: { body: trainingPlan, facts: trainingFacts, glyph: "plan" },
  MealPlan: { body: mealPlan, facts: mealFacts, glyph: "meal" },
  ProgressAnalysis: { body: progressAnalysis, facts: progressFacts, glyph: "chart" },
};
const ANY = { body: readable, facts: () => [], glyph: "plan" };

/** A card for `{id, kind, title, data}`; its body is made when it is first opened. */
export function artifactCard(artifact) {
  const form = FORMS[artifact.kind] ?? ANY;
  const body = el("div", { class: "artifact-body" });
  const fill = () => {
    if (!card.open || body.childElementCount) return;
    body.append(form.body(artifact.data), el("div", { class: "artifact-foot" }, downloadButton(artifact)));
  };
  const facts = el("span", { class: "facts" }, ...form.facts(artifact.data).map(fact));
  const card = el(
    "details",
    { class: "artifact", dataset: { kind: artifact.kind, id: artifact.id }, on: { toggle: fill } },
    el("summary", {}, el("span", { class: "glyph" }, icon(form.glyph)), heading(artifact, facts), icon("chevron")),
    body,
  );
  return card;
}

function heading({ kind, title }, facts) {
  const name = hasWord(`kind_${kind}`) ? el("span", { class: "kind", say: `kind_${kind}` }) : el("span", { class: "kind" }, spaced(kind));
  return el("span", { class: "artifact-heading" }, name, el("strong", {}, title), facts);
}

const spaced = (kind) => kind.replace(/([a-z])([A-Z])/g, "$1 $2");

/** What a closed card shows: `[value, key of its unit]`, of which one may be null. */
function fact([value, unit]) {
  return el("span", {}, value, value && unit ? " " : null, unit ? el("span", { class: "soft", say: unit }) : null);
}

function downloadButton(artifact) {
  const save = () => {
    const url = URL.createObjectURL(new Blob([JSON.stringify(artifact, null, 2)], { type: "application/json" }));
    el("a", { href: url, download: fileName(artifact) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return el("button", { type: "button", class: "button download", on: { click: save } }, icon("download"), el("span", { say: "artifact_download" }));
}

function fileName({ kind, title }) {
  const plain = title.normalize("NFD").replace(/[\u0300-\u036f]/g, "");
  const words = plain.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  return `${words || kind}.json`;
}

// Where an answer came from, said honestly: the model, a cache, a local model, or no model at all.

import { el } from "./dom.js";

const KNOWN = new Set(["model", "cache", "stale", "local", "template", "safety", "remote"]);

/** A badge that opens to an explanation, or null when the source is not known. `answer` has source, rung, model, location, degraded. */
export function sourceBadge({ source, rung, model, location, degraded }) {
  const kind = rung === "safety" ? "safety" : source;
  if (!KNOWN.has(kind)) return null;
  const name = [model, location].filter(Boolean).join(", ");
  const why = el("p", { class: "why" }, el("span", { say: `why_${kind}`, sayWith: { model: name && ` (${name})` } }));
  const summary = el("summary", {}, el("span", { class: "dot", "aria-hidden": "true" }), el("span", { say: `source_${kind}` }));
  if (degraded) {
    summary.append(el("span", { class: "limited", say: "source_degraded" }));
    why.append(" ", el("span", { say: "why_degraded" }));
  }
  return el("details", { class: "badge", name: "badge", dataset: { source: kind, degraded: String(Boolean(degraded)) } }, summary, why);
}

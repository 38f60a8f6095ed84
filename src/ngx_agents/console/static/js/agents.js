// The team: who can be asked, and by which name people know them in either language.

import * as api from "./api.js";
import { byId, el } from "./dom.js";
import { currentLanguage } from "./i18n.js";

const cards = new Map();

const localized = (text) => (typeof text === "string" ? text : (text?.[currentLanguage()] ?? text?.en ?? ""));

/** The name of an agent for people; its id made readable while the team is not loaded. */
export function agentName(id) {
  const name = localized(cards.get(id)?.name);
  if (name && name !== id) return name;
  const words = id.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Shows the agents' names in `node`, now and after a change of language. */
export function nameAgents(node, ids) {
  node.dataset.agents = ids.join(" ");
  node.textContent = ids.map(agentName).join(" · ");
}

/** Fills the picker. Chat works without it, so a failure only leaves "the team decides". */
export async function loadAgents() {
  const select = byId("agent-select");
  select.replaceChildren(el("option", { value: "", say: "agent_auto" }));
  const { items } = await api.listAgents();
  for (const card of items) {
    cards.set(card.id, card);
    if (card.id !== "orchestrator") select.append(el("option", { value: card.id })); // it is the one that decides
  }
  showNames();
  document.addEventListener("ngx:language", showNames);
}

function showNames() {
  for (const option of byId("agent-select").options) {
    if (option.value) option.textContent = agentName(option.value);
  }
  for (const node of document.querySelectorAll(".who[data-agents]")) nameAgents(node, node.dataset.agents.split(" "));
}

/** The id the user picked, or undefined for the team's own choice. */
export const pickedAgent = () => byId("agent-select").value || undefined;

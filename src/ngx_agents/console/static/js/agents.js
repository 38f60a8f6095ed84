// The team: who can be asked, and by which name people know them.

import * as api from "./api.js";
import { byId, el } from "./dom.js";

const names = new Map();

/** The name of an agent for people; its id made readable while the team is not loaded. */
export function agentName(id) {
  if (names.has(id)) return names.get(id);
  const words = id.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Fills the picker. Chat works without it, so a failure only leaves "the team decides". */
export async function loadAgents() {
  const select = byId("agent-select");
  select.replaceChildren(el("option", { value: "", say: "agent_auto" }));
  const { items } = await api.listAgents();
  for (const agent of items) {
    if (agent.name) names.set(agent.id, agent.name === agent.id ? agentName(agent.id) : agent.name);
    if (agent.id === "orchestrator") continue; // it is the one that decides
    select.append(el("option", { value: agent.id, title: agent.description ?? "" }, agentName(agent.id)));
  }
}

/** The id the user picked, or undefined for the team's own choice. */
export const pickedAgent = () => byId("agent-select").value || undefined;

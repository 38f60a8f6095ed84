// One answer of the team, as it arrives: who speaks, the text, what it leaves behind, and where it came from.

import { nameAgents } from "./agents.js";
import { artifactCard } from "./artifacts.js";
import { sourceBadge } from "./badge.js";
import { el, icon } from "./dom.js";
import { say } from "./i18n.js";
import { renderMarkdown } from "./markdown.js";
import { problemNotice, remark } from "./notice.js";
import { Problem } from "./problem.js";

const FRAME_MS = 60; // the text is set at most this often while it streams
const TOLD_AGAIN = new Set(["resumed", "retaken"]); // resets after which the artifacts come again as well

export class AnswerView {
  text = "";
  isFailed = false; // the turn itself, not only the way to it
  #agents = [];
  #artifacts = new Set();
  #timer = null;

  /** `onChange` after each visible change, `onSpeak(text)` with what is to be read aloud, `retry` for a failed turn. */
  constructor({ onChange = () => {}, onSpeak = () => {}, retry = null } = {}) {
    this.onChange = onChange;
    this.onSpeak = onSpeak;
    this.retry = retry;
    this.who = el("span", { class: "who", say: "team" });
    this.doing = el("span", { class: "doing" });
    this.prose = el("div", { class: "prose" });
    this.cards = el("div", { class: "cards" });
    this.foot = el("footer", { class: "answer-foot" });
    const mark = el("span", { class: "mark", "aria-hidden": "true" });
    const head = el("header", { class: "answer-head" }, mark, this.who, this.doing);
    this.node = el("article", { class: "answer" }, head, this.prose, this.cards, this.foot);
  }

  /** A stored message, complete. */
  static ofMessage(message, artifacts) {
    const view = new AnswerView();
    view.#setAgents(message.agent ? [message.agent] : []);
    view.text = message.text;
    view.#paint();
    for (const artifact of artifacts) view.#addArtifact(artifact);
    view.#finish(message);
    return view;
  }

  /** Shows that the turn is under way, before anything of it arrived. */
  begin() {
    this.#busy("thinking");
  }

  apply({ type, data }) {
    const handler = {
      "turn.accepted": () => this.#busy(data.position > 0 ? "waiting" : "thinking"),
      "turn.started": () => this.#busy("thinking"),
      "agent.started": () => this.#join(data.agent),
      "text.delta": () => this.#add(data),
      "text.reset": () => this.#reset(data.reason),
      artifact: () => this.#addArtifact(data),
      "turn.completed": () => this.#finish(data),
      "turn.cancelled": () => this.#cancelled(data),
      "turn.failed": () => this.#failed(data),
      "turn.view": () => this.#show(data),
    }[type];
    handler?.();
    this.onChange();
  }

  /** Ends the answer with a problem. */
  fail(problem) {
    this.#end();
    if (problem.firstAid) this.prose.replaceChildren(renderMarkdown(problem.firstAid));
    this.foot.append(problemNotice(problem, this.retry));
    this.onChange();
  }

  #busy(key, params) {
    this.node.dataset.state = "running";
    this.node.setAttribute("aria-busy", "true");
    say(this.doing, key, params);
  }

  #join(agent) {
    if (!this.#agents.includes(agent)) this.#setAgents([...this.#agents, agent]);
    this.#busy(this.text ? "writing" : "thinking");
  }

  #setAgents(agents) {
    this.#agents = agents;
    if (!agents.length) return;
    delete this.who.dataset.say;
    nameAgents(this.who, agents);
    this.node.dataset.agents = agents.join(" ");
  }

  #add({ text, agent }) {
    if (agent && !this.#agents.includes(agent)) this.#setAgents([...this.#agents, agent]);
    this.text += text;
    this.#busy("writing");
    this.onSpeak(text);
    this.#timer ??= setTimeout(() => {
      this.#paint();
      this.onChange();
    }, FRAME_MS);
  }

  #reset(reason) {
    this.text = "";
    if (TOLD_AGAIN.has(reason)) {
      this.#artifacts.clear();
      this.cards.replaceChildren();
    }
    this.#paint();
    this.onSpeak(null);
    this.#busy("thinking");
  }

  #paint() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.prose.replaceChildren(renderMarkdown(this.text));
  }

  #addArtifact(artifact) {
    if (this.#artifacts.has(artifact.id)) return;
    this.#artifacts.add(artifact.id);
    this.cards.append(artifactCard(artifact));
  }

  #finish(answer) {
    if (answer.agents?.length) this.#setAgents(answer.agents);
    this.#end();
    const badge = sourceBadge(answer);
    if (badge) this.foot.append(badge);
    if (this.text) this.foot.append(this.#copyButton());
  }

  #cancelled(answer) {
    this.#end();
    this.foot.append(remark("stopped"));
    const badge = this.text ? sourceBadge(answer) : null;
    if (badge) this.foot.append(badge);
  }

  /** The whole state at once, as GET /v1/turns/{id} has it. */
  #show(view) {
    this.text = view.text ?? this.text;
    for (const artifact of view.artifacts ?? []) this.#addArtifact(artifact);
    if (view.status === "completed") this.#finish(view);
    else if (view.status === "cancelled") this.#cancelled(view);
    else this.#failed(view);
  }

  #failed({ code, retry_after_s }) {
    this.isFailed = true;
    this.fail(new Problem(0, code ?? "turn_failed", { retryAfterS: retry_after_s ?? null }));
  }

  #end() {
    this.#paint();
    this.foot.replaceChildren();
    this.node.dataset.state = "ended";
    this.node.removeAttribute("aria-busy");
    delete this.doing.dataset.say;
    this.doing.textContent = "";
  }

  #copyButton() {
    const words = el("span", { say: "copy" });
    const copy = async () => {
      await navigator.clipboard.writeText(this.text);
      say(words, "copied");
      setTimeout(() => say(words, "copy"), 2000);
    };
    return el("button", { type: "button", class: "link-button", on: { click: copy } }, icon("copy"), words);
  }
}

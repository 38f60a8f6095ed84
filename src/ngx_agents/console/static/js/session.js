// The open conversation: loads it, sends to it, follows its running turn, and leaves it without stopping anything.

import { announce, finishAnnouncing, resetAnnouncer } from "./announcer.js";
import { pickedAgent } from "./agents.js";
import * as api from "./api.js";
import { byId } from "./dom.js";
import { say } from "./i18n.js";
import { showMode } from "./mode.js";
import { problemNotice, remark } from "./notice.js";
import { Problem } from "./problem.js";
import { showTitle } from "./sidebar.js";
import { runningTurn, setRunningTurn } from "./store.js";
import { ENDED, TurnFollower } from "./turn.js";
import { showWelcome } from "./welcome.js";

const TITLE_CHARS = 80;
const MOST_ARTIFACTS = 200;
const TERMINAL = new Set(["turn.completed", "turn.failed", "turn.cancelled", "turn.view"]);

export class Session {
  id = null;
  #follower = null;
  #loading = Promise.resolve();

  constructor({ chat, composer, sidebar }) {
    this.chat = chat;
    this.composer = composer;
    this.sidebar = sidebar;
  }

  /** Shows a conversation, or with null an empty one. */
  async open(id) {
    this.#leave();
    this.id = id;
    this.sidebar.setCurrent(id);
    this.chat.clear();
    showWelcome(!id);
    showTitle(id ? this.sidebar.titleOf(id) : null);
    if (!id) return this.composer.focus();
    this.#loading = this.#load(id).catch((problem) => {
      if (this.id === id) this.chat.add(problemNotice(problem, () => this.open(id)));
    });
    return this.#loading;
  }

  async #load(id) {
    const turnId = runningTurn(id);
    const turn = turnId ? await api.getTurn(turnId).catch(() => null) : null; // before the messages, so that they hold its end
    const [info, messages, artifacts] = await Promise.all([
      api.getConversation(id),
      api.everyItem((cursor) => api.listMessages(id, cursor)),
      api.everyItem(api.listArtifacts, MOST_ARTIFACTS).catch(() => []),
    ]);
    if (this.id !== id) return;
    showTitle(info.title);
    this.chat.showHistory(messages, artifacts.filter((artifact) => artifact.conversation_id === id));
    if (turn) this.#takeUp(turn, messages.findLast((message) => message.role === "user")?.text ?? "");
  }

  /** Goes on with the turn that ran when the page was left. */
  #takeUp(turn, text) {
    if (!ENDED.has(turn.status)) return this.#run((follower) => follower.resume(), { text, turnId: turn.turn_id });
    setRunningTurn(this.id, null);
    if (turn.status === "cancelled") this.chat.add(remark("stopped"));
    if (turn.status === "failed" || turn.status === "dead") {
      const problem = new Problem(0, turn.code ?? "turn_failed", { retryAfterS: turn.retry_after_s });
      this.chat.add(problemNotice(problem, () => this.#ask(text, newKey())));
    }
  }

  async send(text) {
    await this.#loading; // else the history would arrive on top of the question
    showWelcome(false);
    this.chat.addQuestion(text);
    await this.#ask(text, newKey());
  }

  async stop() {
    try {
      if (this.#follower?.turnId) await api.cancelTurn(this.#follower.turnId);
      else this.#leave();
    } catch (problem) {
      this.composer.allowStop();
      if (problem.code !== "turn_finished") this.chat.add(problemNotice(problem));
    }
  }

  #ask(text, key) {
    const start = async (follower) => {
      const id = this.id ?? (await this.#create(text));
      await follower.start(id, { text, agent: pickedAgent() }, key);
    };
    return this.#run(start, { text, key });
  }

  async #create(text) {
    const title = text.length > TITLE_CHARS ? `${text.slice(0, TITLE_CHARS - 1)}…` : text;
    const { id } = await api.createConversation(title.replace(/\s+/g, " "));
    this.id = id;
    history.replaceState(null, "", `#/c/${id}`);
    showTitle(title);
    return id;
  }

  /** Shows one turn from `start(follower)` to its end, however it ends. */
  async #run(start, { text, key, turnId = null }) {
    const view = this.chat.addAnswer({
      onSpeak: (piece) => (piece === null ? resetAnnouncer() : announce(piece)),
      retry: () => {
        view.node.remove();
        this.#again(follower, { text, key, isFailed: view.isFailed });
      },
    });
    const follower = new TurnFollower({ turnId, onEvent: (event) => this.#take(event, view), onLink: showLink });
    this.#follower = follower;
    this.composer.setBusy(true);
    resetAnnouncer();
    try {
      await start(follower);
    } catch (error) {
      if (this.#follower === follower) view.fail(error);
      if (!(error instanceof Problem)) throw error;
    } finally {
      if (this.#follower === follower) this.#rest();
    }
  }

  #take(event, view) {
    if (event.type === "turn.accepted") {
      setRunningTurn(this.id, event.data.turn_id);
      this.sidebar.refresh().then(() => this.sidebar.setCurrent(this.id));
    }
    if (event.type === "mode") showMode(event.data.mode);
    if (TERMINAL.has(event.type)) setRunningTurn(this.id, null);
    view.apply(event);
  }

  /** A turn that failed is asked anew; one that was only lost from sight is looked for again, never sent twice. */
  #again(follower, { text, key, isFailed }) {
    if (isFailed) return this.#ask(text, newKey());
    if (follower.turnId) return this.#run((next) => next.resume(), { text, turnId: follower.turnId });
    return this.#ask(text, key);
  }

  #rest() {
    this.#follower = null;
    finishAnnouncing();
    showLink("open");
    this.composer.setBusy(false);
    this.sidebar.refresh();
  }

  #leave() {
    this.#follower?.leave();
    this.#follower = null;
    showLink("open");
    this.composer.setBusy(false);
  }
}

function showLink(state) {
  const node = byId("link-state");
  if (state === "lost") return say(node, "reconnecting");
  delete node.dataset.say;
  node.textContent = "";
}

/** Names one attempt to send; `crypto.randomUUID` is missing on plain http. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

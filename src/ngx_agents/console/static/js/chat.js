// The thread of one conversation: what was said, what is being said, and following it down the page.

import { AnswerView } from "./answer.js";
import { byId, el } from "./dom.js";

const NEAR_PX = 120; // closer to the end than this, the page follows the answer
const ABOVE_PX = 16;

export class ChatView {
  #thread = byId("thread");
  #scroller = byId("scroller");
  #jump = byId("jump");
  #isFollowing = true;
  #anchor = null; // the question whose answer is being followed: it is never pushed out of sight

  constructor() {
    this.#scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
      this.#isFollowing = scrollHeight - scrollTop - clientHeight < NEAR_PX;
      this.#jump.hidden = this.#isFollowing;
    });
    this.#jump.addEventListener("click", () => {
      this.#anchor = null;
      this.toEnd();
    });
  }

  clear() {
    this.#thread.replaceChildren();
    this.#anchor = null;
    this.#jump.hidden = true;
    this.#isFollowing = true;
  }

  /** Shows stored messages, oldest first; `artifacts` are all those of the conversation. */
  showHistory(messages, artifacts) {
    this.clear();
    const left = [...artifacts].sort((a, b) => a.created_at - b.created_at);
    for (const message of messages) {
      if (message.role === "user") this.addQuestion(message.text);
      else this.#thread.append(AnswerView.ofMessage(message, takeArtifactsOf(message, left)).node);
    }
    this.toEnd();
  }

  addQuestion(text) {
    const node = el("article", { class: "question" }, el("span", { class: "unseen", say: "you" }), el("p", {}, text));
    this.#thread.append(node);
    return node;
  }

  /** An answer that is under way. */
  addAnswer(options) {
    const view = new AnswerView({ ...options, onChange: () => this.#follow() });
    this.#thread.append(view.node);
    this.#anchor = [...this.#thread.querySelectorAll(".question")].at(-1);
    view.begin();
    this.toEnd();
    return view;
  }

  /** Anything else that belongs at the end of the thread, such as a notice. */
  add(node) {
    this.#thread.append(node);
    this.toEnd();
  }

  toEnd() {
    this.#isFollowing = true;
    this.#jump.hidden = true;
    this.#follow();
  }

  #follow() {
    if (!this.#isFollowing) return;
    const end = this.#scroller.scrollHeight - this.#scroller.clientHeight;
    this.#scroller.scrollTop = this.#anchor ? Math.min(end, this.#anchor.offsetTop - ABOVE_PX) : end;
  }
}

/** Removes from `left` those of the message: of its turn, or, where it names none, made up to its time. */
function takeArtifactsOf(message, left) {
  const isOurs = ({ turn_id, created_at }) =>
    message.turn_id ? turn_id === message.turn_id : created_at <= message.created_at;
  const ours = left.filter(isOurs);
  for (const artifact of ours) left.splice(left.indexOf(artifact), 1);
  return ours;
}

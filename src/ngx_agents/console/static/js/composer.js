// The message being written: Enter sends, Shift+Enter makes a new line, and the box grows with the text.

import { byId } from "./dom.js";
import { say } from "./i18n.js";

export class Composer {
  #form = byId("composer");
  #box = byId("composer-text");
  #send = byId("send");
  #stop = byId("stop");
  #isBusy = false;

  /** `onSend(text)` and `onStop()`. */
  constructor({ onSend, onStop }) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(onSend);
    });
    this.#box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit(onSend);
    });
    this.#box.addEventListener("input", () => this.#refresh());
    this.#stop.addEventListener("click", () => {
      this.#stop.disabled = true;
      say(this.#stop.lastElementChild, "stopping");
      onStop();
    });
  }

  /** While an answer runs, the stop button takes the place of the send button; writing goes on. */
  setBusy(isBusy) {
    if (this.#isBusy !== isBusy) this.allowStop();
    const hadFocus = document.activeElement === this.#stop;
    this.#isBusy = isBusy;
    this.#stop.hidden = !isBusy;
    this.#send.hidden = isBusy;
    if (hadFocus && !isBusy) this.focus();
    this.#refresh();
  }

  allowStop() {
    this.#stop.disabled = false;
    say(this.#stop.lastElementChild, "stop");
  }

  setText(text) {
    this.#box.value = text;
    this.#refresh();
  }

  focus() {
    this.#box.focus({ preventScroll: true });
  }

  #submit(onSend) {
    const text = this.#box.value.trim();
    if (!text || this.#isBusy) return;
    this.setText("");
    onSend(text);
  }

  #refresh() {
    this.#send.disabled = this.#isBusy || !this.#box.value.trim();
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }
}

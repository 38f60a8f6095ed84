// Reads an answer to screen readers sentence by sentence, instead of the whole text again at every change.

import { byId } from "./dom.js";

const SENTENCE = /^[\s\S]*?[.!?:;…\n](?=\s)/;
let waiting = "";

/** Adds streamed text; whole sentences are announced. */
export function announce(piece) {
  waiting += piece;
  for (let match = SENTENCE.exec(waiting); match; match = SENTENCE.exec(waiting)) {
    waiting = waiting.slice(match[0].length);
    append(match[0]);
  }
}

/** Announces what is left of the answer. */
export function finishAnnouncing() {
  append(waiting);
  waiting = "";
}

/** Forgets what was announced: a new answer begins, or the old one was withdrawn. */
export function resetAnnouncer() {
  waiting = "";
  byId("announcer").replaceChildren();
}

function append(text) {
  if (!text.trim()) return;
  const line = document.createElement("p");
  line.textContent = text.replace(/[*_#|`]+/g, " ").trim();
  byId("announcer").append(line);
}

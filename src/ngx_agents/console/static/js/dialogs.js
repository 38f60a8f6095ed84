// Modal dialogs made of the browser's own <dialog>: focus stays inside and Escape closes.

import { el } from "./dom.js";
import { setToken } from "./api.js";

/** Shows a dialog and resolves to what `read(form)` gives on submit, or to null when it was closed. */
export function ask({ title, text, fields = [], yes, isDanger = false, read = () => true }) {
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", { say: title }),
    el("p", { say: text }),
    ...fields,
    el(
      "div",
      { class: "dialog-foot" },
      el("button", { type: "button", class: "button quiet", say: "cancel", on: { click: () => dialog.close() } }),
      el("button", { type: "submit", class: `button ${isDanger ? "danger" : "primary"}`, say: yes }),
    ),
  );
  const dialog = el("dialog", { class: "dialog" }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener("submit", () => {
      answer = read(form);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.showModal();
  });
}

let asking = null;

/** Asks for the key once, however many calls were refused at the same time. True when one was given. */
export function askForToken() {
  asking ??= askOnce().finally(() => {
    asking = null;
  });
  return asking;
}

async function askOnce() {
  const input = el("input", { type: "password", name: "token", id: "token", required: true, autocomplete: "off", spellcheck: "false" });
  const field = el("div", { class: "field" }, el("label", { for: "token", say: "token_label" }), input);
  const read = (form) => form.elements.token.value.trim();
  const token = await ask({ title: "token_title", text: "token_text", fields: [field], yes: "token_save", read });
  if (token) setToken(token);
  return Boolean(token);
}

export const confirmDelete = () =>
  ask({ title: "delete_question", text: "delete_text", yes: "delete_yes", isDanger: true });

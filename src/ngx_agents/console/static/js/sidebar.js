// The list of conversations: a column on wide screens, a drawer on phones.

import * as api from "./api.js";
import { confirmDelete } from "./dialogs.js";
import { byId, el, icon } from "./dom.js";
import { say } from "./i18n.js";
import { problemNotice } from "./notice.js";

const PHONE = matchMedia("(max-width: 52rem)");

export class Sidebar {
  #items = [];
  #next = null;
  #current = null;
  #drawer = byId("sidebar");

  /** `onDeleted(id)` after the server deleted it; `onProblem(problem)` when it would not. */
  constructor({ onDeleted, onProblem }) {
    this.onDeleted = onDeleted;
    this.onProblem = onProblem;
    byId("open-sidebar").addEventListener("click", () => this.#setOpen(true));
    for (const id of ["close-sidebar", "scrim", "new-conversation"]) byId(id).addEventListener("click", () => this.#setOpen(false));
    byId("more-conversations").addEventListener("click", () => this.#load(this.#next));
    this.#drawer.addEventListener("keydown", (event) => event.key === "Escape" && this.#setOpen(false));
    PHONE.addEventListener("change", () => this.#setOpen(false));
    this.#setOpen(false);
  }

  refresh() {
    return this.#load(null);
  }

  setCurrent(id) {
    this.#current = id;
    for (const link of byId("conversation-list").querySelectorAll("a")) mark(link, id);
    this.#setOpen(false);
  }

  titleOf(id) {
    return this.#items.find((item) => item.id === id)?.title;
  }

  async #load(cursor) {
    try {
      const page = await api.listConversations(cursor);
      this.#items = cursor ? [...this.#items, ...page.items] : [...page.items];
      this.#next = page.next;
      this.#show();
    } catch (problem) {
      if (!this.#items.length) this.#showProblem(problem); // else the list from before is better than a complaint
    }
  }

  #showProblem(problem) {
    const notice = problemNotice(problem, () => this.refresh());
    byId("conversation-list").replaceChildren(el("li", {}, notice));
  }

  #show() {
    const rows = this.#items.map((item) => this.#row(item));
    if (!rows.length) rows.push(el("li", { class: "soft nothing", say: "no_conversations" }));
    byId("conversation-list").replaceChildren(...rows);
    byId("more-conversations").hidden = !this.#next;
  }

  #row({ id, title }) {
    const link = el("a", { href: `#/c/${id}`, id: `open-${id}`, dataset: { id } }, title || el("span", { say: "untitled" }));
    mark(link, this.#current);
    const remove = el(
      "button",
      {
        type: "button",
        class: "icon-button",
        id: `delete-${id}`,
        label: { "aria-label": "delete_conversation" },
        "aria-labelledby": `delete-${id} open-${id}`, // its own label and whose it is
        on: { click: () => this.#delete(id) },
      },
      icon("bin"),
    );
    return el("li", {}, link, remove);
  }

  async #delete(id) {
    if (!(await confirmDelete())) return;
    try {
      await api.deleteConversation(id);
      this.onDeleted(id);
    } catch (problem) {
      this.onProblem(problem);
    }
    await this.refresh();
  }

  #setOpen(isOpen) {
    const isDrawer = PHONE.matches;
    const wasOpen = this.#drawer.classList.contains("open");
    this.#drawer.classList.toggle("open", isOpen);
    this.#drawer.inert = isDrawer && !isOpen; // out of the focus order while it is out of sight
    byId("scrim").hidden = !(isDrawer && isOpen);
    byId("open-sidebar").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) byId("close-sidebar").focus();
    else if (wasOpen && isDrawer) byId("open-sidebar").focus();
  }
}

function mark(link, current) {
  if (link.dataset.id === current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

/** Shows the title of the open conversation. */
export function showTitle(title) {
  const node = byId("conversation-title");
  if (title) {
    delete node.dataset.say;
    node.textContent = title;
  } else {
    say(node, "new_conversation");
  }
}

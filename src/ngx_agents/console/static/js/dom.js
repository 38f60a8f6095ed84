// Elements, made without ever parsing HTML.

import { label, say } from "./i18n.js";

export const byId = (id) => document.getElementById(id);

/** An element. `say` is a word's key, `label` maps attributes to keys, `on` maps events to listeners; text children stay text. */
export function el(tag, { say: key, sayWith, label: labels, on, dataset, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  Object.assign(node.dataset, dataset);
  for (const [name, listener] of Object.entries(on ?? {})) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  if (key) say(node, key, sayWith);
  for (const [attribute, word] of Object.entries(labels ?? {})) label(node, attribute, word);
  return node;
}

export const icon = (name) => el("span", { class: `icon icon-${name}`, "aria-hidden": "true" });

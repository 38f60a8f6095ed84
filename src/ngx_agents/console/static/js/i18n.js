// The interface's words. Elements remember their key, so that a change of language needs no re-rendering.

import { en } from "./words/en.js";
import { es } from "./words/es.js";
import { fieldsEn, fieldsEs } from "./words/fields.js";
import { recall, remember } from "./store.js";

const WORDS = { en: { ...en, ...fieldsEn }, es: { ...es, ...fieldsEs } };
const NOT_FOUND = Symbol("no such word");
let language = recall("language") ?? (navigator.language?.toLowerCase().startsWith("en") ? "en" : "es");

export const currentLanguage = () => language;

/** The text of `key`, with `{name}` replaced from `params`; `fallback` (or the key) when there is no such key. */
export function t(key, params = {}, fallback = key) {
  const text = WORDS[language][key] ?? NOT_FOUND;
  if (text === NOT_FOUND) return fallback;
  return text.replace(/\{(\w+)\}/g, (_, name) => params[name] ?? "");
}

/** Whether there is such a text. */
export const hasWord = (key) => key in WORDS[language];

/** Sets the text of `node` to that of `key`, now and after a change of language. */
export function say(node, key, params) {
  node.dataset.say = key;
  if (params) node.dataset.sayWith = JSON.stringify(params);
  else delete node.dataset.sayWith;
  node.textContent = t(key, params);
  return node;
}

/** The same for an attribute, such as `aria-label`. */
export function label(node, attribute, key) {
  const others = (node.dataset.label ?? "").split(" ").filter((pair) => pair && !pair.startsWith(`${attribute}:`));
  node.dataset.label = [...others, `${attribute}:${key}`].join(" ");
  node.setAttribute(attribute, t(key));
  return node;
}

export function setLanguage(next) {
  language = next in WORDS ? next : "es";
  remember("language", language);
  translatePage();
  document.dispatchEvent(new Event("ngx:language"));
}

export function translatePage() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-say]")) {
    node.textContent = t(node.dataset.say, JSON.parse(node.dataset.sayWith ?? "{}"));
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    for (const pair of node.dataset.label.split(" ")) {
      const [attribute, key] = pair.split(":");
      node.setAttribute(attribute, t(key));
    }
  }
  for (const node of document.querySelectorAll("[data-language]")) {
    node.setAttribute("aria-pressed", String(node.dataset.language === language));
  }
}

const localeOf = () => (language === "es" ? "es-MX" : navigator.language?.startsWith("en") ? navigator.language : "en-US");

/** A day for people; the argument is Unix seconds. */
export const formatDay = (at) => new Date(at * 1000).toLocaleDateString(localeOf(), { day: "numeric", month: "short", year: "numeric" });

/** `sign` is "auto", or "always" for a change. */
export const formatNumber = (value, sign = "auto") =>
  value.toLocaleString(localeOf(), { maximumFractionDigits: 2, signDisplay: sign === "always" ? "exceptZero" : "auto" });

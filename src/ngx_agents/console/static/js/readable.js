// Any JSON as something to read: records as definition lists, lists of records as tables, lists of words as lists.

import { el } from "./dom.js";
import { formatNumber, hasWord, say, t } from "./i18n.js";

const UNITS = { kg: "kg", cm: "cm", km: "km", min: "min", kcal: "kcal", g: "g", mg: "mg", s: "s", pct: "%", percent: "%" };
const WIDEST_CELL = 90; // characters; a table with longer texts is easier to read as blocks
const LONG_TEXT = 48; // characters; a longer value gets a row of its own
const MOST_COLUMNS = 7;

export const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
export const isRecords = (value) => Array.isArray(value) && value.length > 0 && value.every(isRecord);
export const isPlain = (value) => value === null || typeof value !== "object";
export const isEmpty = (value) =>
  value === null || value === undefined || value === "" || (typeof value === "object" && Object.keys(value).length === 0);

/** The name of a field, as an element: its word when there is one, else the field itself made readable. */
export function fieldName(key, tag = "span", attributes = {}) {
  const node = el(tag, attributes);
  if (hasWord(`field_${key}`)) return say(node, `field_${key}`);
  node.append(plainName(key));
  return node;
}

function plainName(key) {
  const parts = key.split("_").filter(Boolean);
  const unit = parts.length > 1 ? UNITS[parts.at(-1)] : undefined;
  const words = (unit ? parts.slice(0, -1) : parts).join(" ");
  return words.charAt(0).toUpperCase() + words.slice(1) + (unit ? ` (${unit})` : "");
}

/** A plain value as text. */
export function plainText(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (typeof value === "number") return formatNumber(value);
  return t(`value_${value}`, {}, String(value));
}

/** An element for any value; `skip` names fields of the top record to leave out. */
export function readable(value, skip = []) {
  if (isPlain(value)) return el("span", {}, plainText(value));
  if (Array.isArray(value)) return list(value);
  return record(value, skip);
}

function list(items) {
  if (items.every(isPlain)) return el("ul", {}, ...items.map((item) => el("li", {}, plainText(item))));
  if (fitsTable(items)) return table(items);
  return el("div", { class: "blocks" }, ...items.map((item) => el("div", { class: "block" }, readable(item))));
}

function fitsTable(items) {
  return columnsOf(items).length <= MOST_COLUMNS && items.every((item) => isRecord(item) && Object.values(item).every(fitsCell));
}

function fitsCell(value) {
  if (Array.isArray(value)) return value.every(isPlain) && value.join(", ").length <= WIDEST_CELL;
  return isPlain(value) && String(value).length <= WIDEST_CELL;
}

const INTERNAL = new Set(["id", "kind", "area", "side", "swap_id", "slot"]); // keys for programs; the name beside them is for people
const columnsOf = (items) => [...new Set(items.flatMap((item) => Object.keys(item ?? {})))].filter((key) => !INTERNAL.has(key));

/** A table of records; numbers stand to the right. */
export function table(items, columns = columnsOf(items).filter((key) => items.some((item) => !isEmpty(item[key])))) {
  const isNumber = (key) => items.every((item) => isEmpty(item[key]) || typeof item[key] === "number");
  const side = Object.fromEntries(columns.map((key) => [key, isNumber(key) ? "to-right" : ""]));
  const head = el("tr", {}, ...columns.map((key) => fieldName(key, "th", { scope: "col", class: side[key] })));
  const rows = items.map((item) => el("tr", {}, ...columns.map((key) => el("td", { class: side[key] }, cell(item[key])))));
  return el("div", { class: "table-wrap", tabindex: "0" }, el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}

function cell(value) {
  if (value === false) return ""; // among many rows only the ones that are so should catch the eye
  if (Array.isArray(value) && value.every(isPlain)) return value.map(plainText).join(", ");
  return isPlain(value) ? plainText(value) : readable(value);
}

function record(value, skip) {
  const entries = Object.entries(value).filter(([key, item]) => !skip.includes(key) && !isEmpty(item));
  const plain = entries.filter(([, item]) => isPlain(item));
  const nested = entries.filter(([, item]) => !isPlain(item));
  const parts = nested.map(([key, item]) => part(key, readable(item)));
  return recordOf(plain.length ? definitions(plain) : null, ...parts);
}

/** Name and value pairs; a value is plain, or a list of plain ones. */
export function definitions(entries) {
  const text = (value) => (Array.isArray(value) ? value.map(plainText).join(", ") : plainText(value));
  const pairs = entries.map(([key, value]) => {
    const shown = text(value);
    const attributes = shown.length > LONG_TEXT ? { class: "broad" } : {};
    return el("div", attributes, fieldName(key, "dt"), el("dd", {}, shown));
  });
  return el("dl", { class: "definitions" }, ...pairs);
}

export const section = (heading, ...content) => el("section", { class: "artifact-section" }, heading, ...content);

/** A section named by its field. */
export const part = (key, ...content) => section(fieldName(key, "h4"), ...content);

/** The parts of a record, one below the other. */
export const recordOf = (...parts) => el("div", { class: "record" }, ...parts);

const SHORT_LIST = 60; // characters of a list that reads well as one value

const isShort = (value) => isPlain(value) || (Array.isArray(value) && value.every(isPlain) && value.join(", ").length <= SHORT_LIST);

/** A record without the fields in `left`: its short entries, and elements for the long ones. */
export function lists(data, left) {
  const entries = Object.entries(data).filter(([key, value]) => !left.includes(key) && !isEmpty(value));
  const long = entries.filter(([, value]) => !isShort(value));
  return { short: entries.filter(([, value]) => isShort(value)), rest: long.map(([key, value]) => part(key, readable(value))) };
}

/** Where the figures come from, behind a fold; null when the record does not say. */
export function sources({ sources: items }) {
  if (isEmpty(items)) return null;
  return el("details", { class: "fold small" }, el("summary", {}, fieldName("sources")), readable(items));
}

// A menu: the day's target, what it must not contain, and each day's meals with their foods and swaps.

import { el } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { definitions, isEmpty, isPlain, isRecord, isRecords, lists, part, plainText, readable, recordOf, sources, table } from "./readable.js";

const IN_PLACE = ["title", "intro", "target", "limits", "daily_plan", "meals", "total", "sources"];
const FOR_PROGRAMS = ["complete", "missing", "fits"]; // intro says it to people
const MACROS = ["protein_g", "carbs_g", "fat_g", "fibre_g"];
const COLUMNS = ["food", "portion", "kcal", "swap"];

export function mealFacts({ target = {}, daily_plan: days }) {
  const facts = ["kcal", "protein_g"].filter((key) => typeof target[key] === "number").map((key) => [formatNumber(target[key]), `unit_${key}`]);
  return isRecords(days) && days.length > 1 ? [...facts, [String(days.length), "unit_days"]] : facts;
}

export function mealPlan(data) {
  const days = daysOf(data);
  const { short, rest } = lists(data, [...IN_PLACE, ...FOR_PROGRAMS]);
  return recordOf(
    data.intro ? el("p", { class: "callout" }, plainText(data.intro)) : null,
    isRecord(data.target) ? definitions(Object.entries(data.target).filter(([, value]) => isPlain(value) && !isEmpty(value))) : null,
    isEmpty(data.limits) ? null : el("div", { class: "callout warm" }, ...[data.limits].flat().map((text) => el("p", {}, plainText(text)))),
    days.length === 1 ? part("meals", ...mealsOf(days[0])) : null,
    days.length > 1 ? part("daily_plan", ...days.map(dayFold)) : null,
    short.length ? definitions(short) : null,
    ...rest,
    sources(data),
  );
}

function daysOf({ daily_plan: days, meals }) {
  if (isRecords(days)) return days.some((day) => isRecords(day.meals)) ? days : [{ meals: days }];
  return isRecords(meals) ? [{ meals }] : [];
}

function dayFold(day, index) {
  const name = el("span", { say: "day", sayWith: { number: index + 1 } });
  const total = isRecord(day.total) ? el("span", { class: "soft" }, macros(day.total, ["protein_g"])) : null;
  return el("details", { class: "fold", open: index === 0 }, el("summary", {}, name, " ", total), el("div", { class: "sessions" }, ...mealsOf(day)));
}

const mealsOf = ({ meals = [] }) => meals.map(meal);

function meal({ name, time, items, foods, total, slot: _slot, ...others }) {
  const eaten = items ?? foods ?? [];
  const { short, rest } = lists(others, []);
  return el(
    "div",
    { class: "meal" },
    el("header", {}, el("h5", {}, plainText(name)), time ? el("span", { class: "soft" }, time) : null),
    isRecord(total) ? el("p", { class: "soft" }, macros(total)) : null,
    isRecords(eaten) ? foodTable(eaten) : readable(eaten),
    short.length ? definitions(short) : null,
    ...rest,
  );
}

function foodTable(foods) {
  const columns = COLUMNS.filter((key) => foods.some((food) => !isEmpty(food[key])));
  return columns.includes("food") ? table(foods, columns) : table(foods);
}

function macros(total, keys = MACROS) {
  const energy = typeof total.kcal === "number" ? [`${formatNumber(total.kcal)} kcal`] : [];
  const parts = keys.filter((key) => typeof total[key] === "number").map((key) => `${formatNumber(total[key])} ${t(`unit_${key}`)}`);
  return [...energy, ...parts].join(" · ");
}

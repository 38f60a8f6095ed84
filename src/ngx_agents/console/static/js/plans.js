// Meal plans and progress reports, and the figures that a closed card shows; what a form does not know is still shown.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { definitions, fieldName, isEmpty, isPlain, isRecords, part, plainText, readable, recordOf, section } from "./readable.js";

const FACTS = ["duration_weeks", "sessions_per_week", "kcal", "calories", "period", "points"];
const MOST_FACTS = 3;
const IN_TITLE = ["title", "plan_name"];

/** The few figures that a closed card shows. */
export function factsOf(data) {
  return FACTS.filter((key) => isPlain(data[key]) && !isEmpty(data[key]))
    .slice(0, MOST_FACTS)
    .map((key) => el("span", {}, plainText(data[key]), " ", fieldName(key, "span", { class: "soft" })));
}

const mealsOf = (data) => [data.meals, data.daily_plan, data.daily_plan?.meals].find(isRecords);

/** The day's totals, then each meal with its foods, then the rest. */
export function mealPlan(data) {
  const meals = mealsOf(data);
  if (!meals) return readable(data, IN_TITLE);
  const plain = Object.entries(data).filter(([key, value]) => isPlain(value) && !isEmpty(value) && !IN_TITLE.includes(key));
  const rest = readable(data, [...IN_TITLE, "meals", "daily_plan", ...plain.map(([key]) => key)]);
  return recordOf(plain.length ? definitions(plain) : null, part("meals", ...meals.map(meal)), ...rest.childNodes);
}

function meal({ name, meal: kind, time, items, foods, ...others }) {
  const eaten = items ?? foods;
  const head = el("header", {}, el("h5", {}, plainText(name ?? kind)), time ? el("span", { class: "soft" }, time) : null);
  const figures = Object.entries(others).filter(([, value]) => isPlain(value) && !isEmpty(value));
  const nested = Object.entries(others).filter(([, value]) => !isPlain(value) && !isEmpty(value));
  return el(
    "div",
    { class: "meal" },
    head,
    isEmpty(eaten) ? null : readable(eaten),
    figures.length ? definitions(figures) : null,
    ...nested.map(([key, value]) => section(fieldName(key, "h5"), readable(value))),
  );
}

/** The chart, then the figures it was drawn from. */
export function progressAnalysis(data) {
  const rest = readable(data, ["chart_svg", ...IN_TITLE]);
  return recordOf(typeof data.chart_svg === "string" ? chart(data) : null, ...rest.childNodes);
}

/** As an image: an SVG inside <img> can neither run script nor load anything. */
function chart({ chart_svg: svg, summary, title, metric }) {
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  const alt = t("chart_alt", { title: summary ?? title ?? plainText(metric ?? "") });
  return el("figure", { class: "chart" }, el("img", { src: url, alt, on: { load: () => URL.revokeObjectURL(url) } }));
}

// Training plans, meal plans and progress reports, each in the form that suits it; what a form does not know is still shown.

import { el } from "./dom.js";
import { hasWord, say } from "./i18n.js";
import { definitions, fieldName, isEmpty, isPlain, isRecord, plainText, readable, section, table } from "./readable.js";

const FACTS = ["duration_weeks", "sessions_per_week", "kcal", "calories", "period", "points"];
const MOST_FACTS = 3;
const NOT_FOR_PEOPLE = ["title", "plan_name", "goal", "program_type", "discipline"]; // said by the card's title or by goal_name

/** The few figures that a closed card shows. */
export function factsOf(data) {
  return FACTS.filter((key) => isPlain(data[key]) && !isEmpty(data[key]))
    .slice(0, MOST_FACTS)
    .map((key) => el("span", {}, plainText(data[key]), " ", fieldName(key, "span", { class: "soft" })));
}

const isRecords = (value) => Array.isArray(value) && value.length > 0 && value.every(isRecord);
const record = (...parts) => el("div", { class: "record" }, ...parts);
const part = (key, ...content) => section(fieldName(key, "h4"), ...content);

/** The plan's head, its weeks as a table, each week's sessions behind a fold, then the rest. */
export function trainingPlan(data) {
  if (!isRecords(data.weeks)) return readable(data, NOT_FOR_PEOPLE);
  const plain = Object.entries(data).filter(([key, value]) => isPlain(value) && !isEmpty(value) && !NOT_FOR_PEOPLE.includes(key));
  const shown = [...NOT_FOR_PEOPLE, "weeks", "weeks_detail", "phases", ...plain.map(([key]) => key)];
  const rest = readable(data, shown);
  return record(
    definitions(plain),
    isEmpty(data.phases) ? null : part("phases", readable(data.phases)),
    part("weeks", table(data.weeks)),
    isRecords(data.weeks_detail) ? part("sessions", ...data.weeks_detail.map(weekFold)) : null,
    ...rest.childNodes,
  );
}

/** One week's sessions, made when it is opened: a plan may have a hundred of them. */
function weekFold(week, index) {
  const body = el("div", { class: "record" });
  const fill = () => {
    if (!body.childElementCount) body.append(...sessionsOf(week));
  };
  const name = el("span", { say: "week", sayWith: { number: week.week ?? index + 1 } });
  const phase = week.phase ? el("span", { class: "soft" }, plainText(week.phase)) : null;
  return el("details", { class: "fold", on: { toggle: fill } }, el("summary", {}, name, " ", phase), body);
}

function sessionsOf({ sessions = [] }) {
  if (!sessions.some((session) => isRecords(session.exercises))) return [readable(sessions)];
  return sessions.map(({ day, name, exercises = [], ...others }) =>
    section(el("h5", {}, [day, name].filter(Boolean).join(" · ")), readable(exercises), isEmpty(others) ? null : readable(others)),
  );
}

const mealsOf = (data) => [data.meals, data.daily_plan, data.daily_plan?.meals].find(isRecords);

/** The day's totals, then each meal with its foods, then the rest. */
export function mealPlan(data) {
  const meals = mealsOf(data);
  if (!meals) return readable(data, NOT_FOR_PEOPLE);
  const plain = Object.entries(data).filter(([key, value]) => isPlain(value) && !isEmpty(value) && !NOT_FOR_PEOPLE.includes(key));
  const rest = readable(data, [...NOT_FOR_PEOPLE, "meals", "daily_plan", ...plain.map(([key]) => key)]);
  return record(plain.length ? definitions(plain) : null, part("meals", ...meals.map(meal)), ...rest.childNodes);
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
  const rest = readable(data, ["chart_svg", ...NOT_FOR_PEOPLE]);
  return record(typeof data.chart_svg === "string" ? chart(data) : null, ...rest.childNodes);
}

/** As an image: an SVG inside <img> can neither run script nor load anything. */
function chart(data) {
  const url = URL.createObjectURL(new Blob([data.chart_svg], { type: "image/svg+xml" }));
  const image = el("img", { src: url, alt: chartAlt(data), on: { load: () => URL.revokeObjectURL(url) } });
  return el("figure", { class: "chart" }, image);
}

function chartAlt({ title, metric, summary }) {
  const subject = summary ?? title ?? (hasWord(`value_${metric}`) ? plainText(metric) : (metric ?? ""));
  return say(el("span"), "chart_alt", { title: subject }).textContent;
}

// A training plan: what it reaches, its load week by week, and each week's sessions behind a fold.

import { el } from "./dom.js";
import { formatNumber, t } from "./i18n.js";
import { definitions, fieldName, isEmpty, isPlain, isRecords, lists, part, plainText, readable, recordOf, section, sources, table } from "./readable.js";

const IN_TITLE = ["title", "plan_name", "goal", "program_type", "discipline"]; // said by the card's head or by goal_name
const IN_PLACE = ["reach", "injuries", "phases", "weeks", "weeks_detail", "sources"];
const FIGURES = ["minutes", "km", "percent_hr_max", "bpm", "rest_s"]; // their units are words, unit_*

export function trainingFacts(data) {
  const keys = ["duration_weeks", "sessions_per_week"].filter((key) => typeof data[key] === "number");
  return keys.map((key) => [formatNumber(data[key]), `unit_${key}`]);
}

export function trainingPlan(data) {
  if (!isRecords(data.weeks)) return readable(data, IN_TITLE);
  const { short, rest } = lists(data, [...IN_TITLE, ...IN_PLACE]);
  return recordOf(
    isPlain(data.reach) && data.reach ? el("p", { class: "callout" }, data.reach) : null,
    definitions(short),
    isEmpty(data.injuries) ? null : part("injuries", ...[data.injuries].flat().map(injury)),
    isEmpty(data.phases) ? null : part("phases", phases(data.phases)),
    part("weeks", loadBars(data.weeks), table(data.weeks)),
    isRecords(data.weeks_detail) ? part("sessions", el("div", {}, ...data.weeks_detail.map(weekFold))) : null,
    ...rest,
    sources(data),
  );
}

function injury(value) {
  if (isPlain(value)) return el("p", {}, plainText(value));
  const pain = isEmpty(value.pain) ? null : ` · ${value.pain}/10`;
  const head = el("strong", {}, plainText(value.name ?? value.area), pain);
  return el("div", { class: "callout warm" }, head, ...[value.limit, value.advice].filter(Boolean).map((text) => el("p", {}, text)));
}

function phases(items) {
  if (!isRecords(items)) return readable(items);
  const rows = items.map(({ name, from_week: from, to_week: to, aim }) => {
    const weeks = from === to ? `${from}` : `${from}–${to}`;
    return el("li", {}, el("span", { class: "phase-weeks" }, weeks), el("div", {}, el("strong", {}, plainText(name)), el("p", { class: "soft" }, aim ?? "")));
  });
  return el("ol", { class: "phases" }, ...rows);
}

/** The load of each week as a bar; the table below says the same in figures. */
function loadBars(weeks) {
  const measure = ["minutes", "sets", "km"].find((key) => weeks.every((week) => typeof week[key] === "number"));
  if (!measure) return null;
  const most = Math.max(...weeks.map((week) => week[measure]), 1);
  const bars = weeks.map((week, index) => {
    const bar = el("span", { class: week.deload ? "bar light" : "bar" });
    bar.style.height = `${Math.round((week[measure] / most) * 100)}%`;
    return el("span", { class: "bar-slot" }, bar, el("small", {}, String(week.week ?? index + 1)));
  });
  const caption = el("figcaption", { class: "soft" }, fieldName(measure), `, ≤ ${formatNumber(most)}`);
  return el("figure", { class: "load", "aria-hidden": "true" }, caption, el("div", { class: "bars" }, ...bars));
}

/** One week, made when it is opened: a plan may have a hundred sessions. */
function weekFold(week, index) {
  const body = el("div", { class: "sessions" });
  const fill = () => {
    if (!body.childElementCount) body.append(...(week.sessions ?? []).map(session));
  };
  const name = el("span", { say: "week", sayWith: { number: week.week ?? index + 1 } });
  const phase = week.phase ? el("span", { class: "soft" }, plainText(week.phase)) : null;
  return el("details", { class: "fold", on: { toggle: fill } }, el("summary", {}, name, " ", phase), body);
}

function session({ day, name, kind: _kind, how, exercises, rpe, ...others }) {
  const summary = FIGURES.filter((key) => !isEmpty(others[key])).map((key) => `${plainText(others[key])} ${t(`unit_${key}`)}`);
  if (!isEmpty(rpe)) summary.push(`RPE ${rpe}`);
  const rest = Object.fromEntries(Object.entries(others).filter(([key, value]) => !FIGURES.includes(key) && !isEmpty(value)));
  return section(
    el("h5", {}, [day, name].filter(Boolean).map(plainText).join(" · ")),
    summary.length ? el("p", { class: "soft" }, summary.join(" · ")) : null,
    how ? el("p", {}, how) : null,
    isEmpty(exercises) ? null : readable(exercises),
    isEmpty(rest) ? null : readable(rest),
  );
}

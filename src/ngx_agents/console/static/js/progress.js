// How something went: the chart, what it says in words, and the figures it was drawn from.

import { el } from "./dom.js";
import { formatDay, formatNumber, hasWord, t } from "./i18n.js";
import { definitions, fieldName, isPlain, isRecord, isRecords, lists, plainText, recordOf, readable, sources, table } from "./readable.js";

const IN_PLACE = ["title", "chart_svg", "points", "sources", "pace_note", "projection_note", "projection", "first", "last"];
const FOR_PROGRAMS = ["period", "enough", "pace", "least_squares_kg_week"]; // period_name and pace_note say it to people

export function progressFacts({ change_kg: change, count, period, period_name: name }) {
  const facts = typeof change === "number" ? [[formatNumber(change, "always"), "unit_kg"]] : [];
  if (typeof count === "number") facts.push([formatNumber(count), "unit_entries"]);
  if (hasWord(`period_${period}`)) facts.push([null, `period_${period}`]);
  else if (typeof name === "string") facts.push([name, null]);
  return facts;
}

export function progressAnalysis(data) {
  const { short, rest } = lists(data, [...IN_PLACE, ...FOR_PROGRAMS]);
  const ends = ["first", "last"].filter((key) => isRecord(data[key])).map((key) => [key, Object.values(data[key]).map(plainText).join(" · ")]);
  const notes = [data.pace_note, data.projection_note].filter(Boolean).map((text) => el("p", {}, text));
  return recordOf(
    typeof data.chart_svg === "string" ? chart(data) : null,
    notes.length ? el("div", { class: "callout" }, ...notes) : null,
    short.length || ends.length ? definitions([...short, ...ends]) : null,
    ...rest,
    isRecords(data.points) ? points(data.points) : null,
    sources(data),
  );
}

function points(items) {
  const shown = items.map(({ at, ...values }) => (typeof at === "number" ? { date: formatDay(at), ...values } : { at, ...values }));
  const isFlat = shown.every((item) => Object.values(item).every(isPlain));
  return el("details", { class: "fold" }, el("summary", {}, fieldName("points")), isFlat ? table(shown) : readable(shown));
}

/** As an image: an SVG inside <img> can neither run script nor load anything. */
function chart({ chart_svg: svg, title, metric }) {
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  const alt = description(svg) || t("chart_alt", { title: title ?? plainText(metric ?? "") });
  return el("figure", { class: "chart" }, el("img", { src: url, alt, on: { load: () => URL.revokeObjectURL(url) } }));
}

/** What the chart says of itself, for those who cannot see it. */
function description(svg) {
  const texts = ["title", "desc"].map((tag) => new RegExp(`<${tag}[^>]*>([^<]*)</${tag}>`).exec(svg)?.[1].trim());
  return texts.filter(Boolean).join(". ");
}

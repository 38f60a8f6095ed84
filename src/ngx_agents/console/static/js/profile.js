// The profile: what the user wants the team to know and respect.

import * as api from "./api.js";
import { el } from "./dom.js";
import { label, say } from "./i18n.js";
import { problemNotice } from "./notice.js";

const FIELDS = {
  profile_about: [
    ["name", "text", { maxlength: 200 }],
    ["age", "number", { min: 0, max: 130, step: 1 }],
    ["sex", ["female", "male"]],
    ["height_cm", "number", { min: 30, max: 280, step: "any" }],
    ["weight_kg", "number", { min: 2, max: 700, step: "any" }],
    ["role", "text", { maxlength: 200 }],
    ["locale", ["es-MX", "es-ES", "en-US", "en-GB"]],
  ],
  profile_goals: [
    ["goals", "list"],
    ["experience", ["beginner", "intermediate", "advanced"]],
    ["activity", ["sedentary", "light", "moderate", "high", "very_high"]],
    ["programme", ["PRIME", "LONGEVITY", "STRENGTH", "HYPERTROPHY", "ENDURANCE", "ATHLETIC", "PERFORMANCE"]],
    ["equipment", "list"],
  ],
  profile_health: [
    ["restrictions", "list"],
    ["allergies", "list"],
    ["injuries", "list"],
    ["conditions", "list"],
    ["medication", "list"],
    ["pregnant", "flag"],
  ],
};
const NAMES_OF_THEIR_OWN = new Set(["programme", "locale"]); // options shown as they are

/** Opens the form with what the server has; saving sends it back whole, unknown fields included. */
export async function openProfile() {
  const form = el("form", { class: "profile" });
  const dialog = el("dialog", { class: "dialog wide" }, form);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  label(dialog, "aria-label", "profile");
  form.append(el("h2", { say: "profile" }), el("p", { class: "soft", say: "loading" }));
  dialog.showModal();
  try {
    const profile = await api.getProfile();
    fill(form, dialog, profile);
  } catch (problem) {
    const again = problemNotice(problem, () => {
      dialog.close();
      openProfile();
    });
    form.replaceChildren(el("h2", { say: "profile" }), again, closeRow(dialog));
  }
}

function fill(form, dialog, profile) {
  const groups = Object.entries(FIELDS).map(([legend, fields]) =>
    el("fieldset", {}, el("legend", { say: legend }), ...fields.map(([name, type, limits]) => field(name, type, limits, profile[name]))),
  );
  const status = el("span", { class: "soft", role: "status" });
  form.replaceChildren(
    el("h2", { say: "profile" }),
    el("p", { class: "soft", say: "profile_text" }),
    ...groups,
    closeRow(dialog, status, el("button", { type: "submit", class: "button primary", say: "profile_save" })),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    form.querySelector(".notice")?.remove();
    try {
      await api.putProfile({ ...profile, ...read(form) });
      say(status, "profile_saved");
      dialog.close();
    } catch (problem) {
      form.append(problemNotice(problem, () => form.requestSubmit()));
    }
  });
}

function closeRow(dialog, ...others) {
  const close = el("button", { type: "button", class: "button quiet", say: "close", on: { click: () => dialog.close() } });
  return el("div", { class: "dialog-foot" }, ...others.slice(0, -1), close, ...others.slice(-1));
}

function field(name, type, limits, value) {
  const id = `profile-${name}`;
  const control = controlFor(name, type, limits, value);
  control.id = id;
  const title = el("label", { for: id, say: name === "goals" ? "profile_goals_list" : `profile_${name}` });
  if (type === "flag") return el("div", { class: "field flag" }, control, title);
  if (type !== "list") return el("div", { class: "field" }, title, control);
  control.setAttribute("aria-describedby", `${id}-hint`);
  return el("div", { class: "field broad" }, title, control, el("span", { id: `${id}-hint`, class: "field-hint", say: "profile_list_hint" }));
}

function controlFor(name, type, limits, value) {
  if (Array.isArray(type)) return select(name, type, value);
  if (type === "flag") return el("input", { type: "checkbox", name, dataset: { type }, checked: Boolean(value) });
  const text = type === "list" ? (value ?? []).join(", ") : (value ?? "");
  return el("input", { type: type === "number" ? "number" : "text", name, value: text, dataset: { type }, autocomplete: "off", ...limits });
}

function select(name, options, value) {
  const known = value && !options.includes(value) ? [...options, value] : options;
  const choice = (option) =>
    NAMES_OF_THEIR_OWN.has(name)
      ? el("option", { value: option, selected: option === value }, option)
      : el("option", { value: option, selected: option === value, say: `profile_${name}_${option}` });
  return el("select", { name, dataset: { type: "choice" } }, el("option", { value: "", say: "profile_none" }), ...known.map(choice));
}

function read(form) {
  const values = {};
  for (const control of form.querySelectorAll("[data-type]")) values[control.name] = valueOf(control);
  return values;
}

function valueOf({ dataset, value, checked }) {
  if (dataset.type === "flag") return checked;
  if (dataset.type === "list") return value.split(",").map((part) => part.trim()).filter(Boolean);
  if (value.trim() === "") return null;
  return dataset.type === "number" ? Number(value) : value.trim();
}

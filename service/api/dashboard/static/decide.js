// The form that changes a rollout: it sends the whole document at the revision it was filled from, after a confirmation.

import { decide, modelPath } from "./api.js";
import { element, onChange } from "./dom.js";
import { changes } from "./changes.js";
import { planBefore } from "./history.js";
import { cautions } from "./selection.js";

const NONE = "none", BARE = "bare";
let state = { dirty: false, model: null, rollout: null, entries: [] }, known = [];

/** Update the form; unsent edits stay, with a notice if the rollout changed meanwhile. */
export function refreshForm(form, model, rollout, triggers, entries, hooks) {
  const names = triggers.map(({ version }) => version);
  known = triggers;
  onChange(form, [model, names], () => { build(form, names, hooks); state.dirty = false; });
  const moved = state.rollout?.revision !== rollout.revision;
  if (!state.dirty || state.model !== model) {
    state = { dirty: false, model, rollout, entries };
    if (moved || form.dataset.filled !== model) fillIn(form, rollout);
    form.dataset.filled = model;
  } else if (moved) {
    say(form, `The rollout is at revision ${rollout.revision} by now; you began at ${state.rollout.revision}. Reset to see it.`);
  }
  state.latest = { rollout, entries };
}

function build(form, names, hooks) {
  const options = (first) => [...first, ...names.map((name) => [name, name])]
    .map(([value, text]) => element("option", { value }, text));
  const share = (id, label) => element("label", {}, `${label} `,
    element("input", { type: "number", id, min: 0, max: 100, step: "any", required: true }), " %");
  form.replaceChildren(
    element("div", { class: "grid" },
      element("fieldset", {}, element("legend", {}, "Champion"),
        element("label", {}, "Answers everybody else ", element("select", { id: "d-champion" }, ...options([[BARE, "no trigger"]])))),
      element("fieldset", {}, element("legend", {}, "Challenger"),
        element("label", {}, "Version ", element("select", { id: "d-challenger" }, ...options([[NONE, "none"], [BARE, "no trigger"]]))), " ",
        share("d-share", "answers")),
      element("fieldset", {}, element("legend", {}, "Shadows: computed, counted, never answered"),
        ...names.map((name) => element("label", {}, element("input", { type: "checkbox", name: "d-shadow", value: name }), ` ${name} `)),
        share("d-shadow-share", "on")),
      element("fieldset", {}, element("legend", {}, "Twins: also run without a trigger"), share("d-twins", "of inputs"))),
    element("p", {}, element("label", {}, "Reason, for the history ", element("input", { type: "text", id: "d-reason", maxlength: 1000 }))),
    element("p", { class: "controls" },
      element("button", { type: "submit", class: "primary" }, "Review change …"),
      element("button", { type: "button", id: "d-rollback" }, "Roll back …"),
      element("button", { type: "button", id: "d-reset" }, "Reset")),
    element("output", { id: "d-result" }));
  form.oninput = () => { state.dirty = true; };
  form.onsubmit = (event) => { event.preventDefault(); review(form, hooks); };
  form.querySelector("#d-rollback").onclick = () => reviewRollback(form, hooks);
  form.querySelector("#d-reset").onclick = () => reset(form);
}

function reset(form) {
  Object.assign(state, { dirty: false, ...state.latest });
  fillIn(form, state.rollout);
  say(form, "");
}

function fillIn(form, { champion, challenger, shadow, twin_share }) {
  const set = (id, value) => { form.querySelector(id).value = value; };
  const percents = (share) => +(100 * share).toFixed(6);
  set("#d-champion", champion ?? BARE);
  set("#d-challenger", challenger ? challenger.version ?? BARE : NONE);
  set("#d-share", percents(challenger?.share ?? 0.05));
  set("#d-shadow-share", percents(shadow?.share ?? 1));
  set("#d-twins", percents(twin_share));
  set("#d-reason", "");
  for (const box of form.querySelectorAll("[name=d-shadow]")) box.checked = shadow?.versions.includes(box.value) ?? false;
}

function planIn(form) {
  const value = (id) => form.querySelector(id).value;
  const share = (id) => Number(value(id)) / 100;
  const version = (name) => (name === BARE ? null : name);
  const shadows = [...form.querySelectorAll("[name=d-shadow]:checked")].map((box) => box.value);
  return {
    champion: version(value("#d-champion")),
    challenger: value("#d-challenger") === NONE ? null : { version: version(value("#d-challenger")), share: share("#d-share") },
    shadow: shadows.length ? { versions: shadows, share: share("#d-shadow-share") } : null,
    twin_share: share("#d-twins"),
    guard: state.rollout.guard,
    reason: value("#d-reason"),
  };
}

function review(form, hooks) {
  const { rollout, model } = state, plan = planIn(form);
  const told = changes(rollout, plan);
  if (!told.length) return say(form, "That is the rollout as it is: nothing to change.");
  confirm("Change the rollout?", [...told, ...cautions(known, rollout, plan)], note(rollout), () =>
    send(form, hooks, "PUT", modelPath(model, "/rollout"), rollout.revision, plan));
}

function reviewRollback(form, hooks) {
  const { rollout, entries } = state.latest, { model } = state, before = planBefore(entries);
  const told = before ? [...changes(rollout, before), ...cautions(known, rollout, before)] : ["The whole rollout before this one is restored; its document is too far back to be shown here."];
  const body = { reason: form.querySelector("#d-reason").value };
  confirm("Roll back?", told, note(rollout), () =>
    send(form, hooks, "POST", modelPath(model, "/rollout/rollback"), rollout.revision, body));
}

const note = ({ revision }) =>
  `Every version is loaded and tried before anything changes, and no request fails. If somebody else changes revision ${revision} first, nothing happens and you are told.`;

function confirm(title, told, text, onYes) {
  const dialog = document.getElementById("confirm"), find = (id) => document.getElementById(id);
  find("confirm-title").textContent = title;
  find("confirm-list").replaceChildren(...told.map((each) => element("li", {}, each)));
  find("confirm-note").textContent = text;
  find("confirm-yes").onclick = () => { dialog.close(); onYes(); };
  find("confirm-no").onclick = () => dialog.close();
  dialog.showModal();
}

async function send(form, hooks, method, path, revision, body) {
  say(form, "Sending …");
  try {
    const done = await decide(method, path, revision, body);
    state.dirty = false;
    const late = done.behind?.length ? ` Not served yet by ${done.behind.join(", ")}.` : " Every service serves it.";
    say(form, `Revision ${done.revision} is decided.${late}`);
  } catch (problem) {
    say(form, "Nothing was changed.");
    hooks.failed(problem);
  }
  await hooks.refresh();
}

const say = (form, text) => { form.querySelector("#d-result").textContent = text; };

// The page's main loop: polls the service every few seconds and passes the data to the parts.

import { Problem, forgetToken, get, hasToken, modelPath, useToken } from "./api.js";
import { saveDocument } from "./download.js";
import { element, fill } from "./dom.js";
import { GAPS, GROUP_RATES, RATES } from "./format.js";
import { refreshForm } from "./decide.js";
import { showFront } from "./front.js";
import { showGains } from "./gains.js";
import { offerAttributes, showGroups } from "./groups.js";
import { showFaults, showFreshness, showNow } from "./now.js";
import { showCoverage, showGuard, showModels, showReplicas } from "./tables.js";
import { showTimeline } from "./timeline.js";
import { showTriggers } from "./triggers.js";
import { FITTING, fittingWindow, windowOptions } from "./windows.js";

const EVERY_MS = 4000, FIT_EVERY_MS = 60000;
const THEME = "fairtrigger-theme";
const find = (id) => document.getElementById(id);
let paused = false, timer = null, turn = 0, last = null, told = {}, fitted = {};

/** Fetch everything once and show it; a newer call discards the result of an older one. */
async function refresh() {
  const mine = ++turn;
  clearTimeout(timer);
  const model = find("model").value;
  try {
    const ask = (rest, query) => get(modelPath(model, rest), query);
    const window = await windowOf(model);
    const [served, rollout, history, triggers, fairness, series] = await Promise.all([
      get("v1/models"), ask("/rollout"), ask("/history", { limit: 1000 }), ask("/triggers"), ask("/fairness", { window }),
      ask("/fairness/series", { window }),
    ]);
    if (mine !== turn) return;
    showFaults(find("faults"), served);
    last = { model, served, rollout, history, triggers: triggers.triggers, fairness, series };
    clearProblem("refresh");
    await show();
    announce();
  } catch (problem) {
    if (mine === turn) report(problem, "refresh");
  }
  if (mine === turn && !paused) timer = setTimeout(refresh, EVERY_MS);
}

/** The window to show: the chosen one, or the one that fits, looked for once a minute. */
async function windowOf(model) {
  if (find("window").value !== FITTING) return find("window").value;
  const of = `${model} ${hasToken()}`;
  if (fitted.of !== of || Date.now() > fitted.at + FIT_EVERY_MS) {
    const ask = (window) => get(modelPath(model, "/fairness"), { window, by: "total" });
    fitted = { of, window: await fittingWindow(ask), at: Date.now() };
    find("window").options[0].textContent = windowOptions(fitted.window)[0][1];
  }
  return fitted.window;
}

async function show() {
  if (!last) return;
  const { model, served, rollout, history, triggers, fairness, series } = last;
  showFreshness(find("freshness"), fairness, paused);
  showNow(find("now"), rollout, fairness, triggers);
  showTimeline(find("timeline"), find("decisions"), series, history, find("metric").value);
  offerAttributes(find("attribute"), find("attribute-label"), fairness);
  showGroups(find("groups"), fairness, find("rate").value, find("attribute").value);
  showFront(find("front"), fairness, find("gap").value, triggers);
  showGains(find("gains"), find("flips"), fairness);
  showGuard(find("guard"), fairness, rollout);
  showCoverage(find("coverage"), fairness);
  showModels(find("models"), served);
  showReplicas(find("replicas"), rollout);
  showExport(model, fairness);
  find("decide").hidden = !hasToken();
  find("locked").hidden = hasToken();
  refreshForm(find("decide"), model, rollout, triggers, history.entries, { refresh, failed: (problem) => report(problem, "decision") });
  await showTriggers(find("triggers"), model, triggers, rollout);
}

/** Where the document comes from, and the command that makes a report of it. */
function showExport(model, { window }) {
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  find("export-address").textContent = `${base}/${modelPath(model, "/fairness")}?window=${window.name}`;
  find("export-command").textContent = `fairtrigger audit --live ${base} --model ${model} --window ${window.name}` +
    `${hasToken() ? " --token-file FILE" : ""} --out audit`;
}

/** Announce decisions and alarms to screen readers, never mere figures. */
function announce() {
  const { model, rollout, history, fairness } = last, before = told;
  told = { model, revision: rollout.revision, alarms: fairness.alarms.filter((each) => each.fired).length };
  if (before.model !== model) return;
  const by = history.entries.find((entry) => entry.revision === told.revision)?.actor ?? "somebody";
  if (told.revision !== before.revision) find("news").textContent = `Revision ${told.revision} of ${model} was decided by ${by}.`;
  else if (told.alarms > before.alarms) find("news").textContent = `An alarm was raised for ${model}.`;
}

/** Show a problem until it is dismissed, or until the failed request succeeds; one per kind. */
function report(problem, kind) {
  if (!(problem instanceof Problem)) throw problem;
  clearProblem(kind);
  const dismiss = element("button", { type: "button" }, "Dismiss");
  const box = element("div", { class: "problem", "data-kind": kind }, element("span", {}, problem.message), dismiss);
  dismiss.onclick = () => box.remove();
  find("problems").append(box);
}

const clearProblem = (kind) => find("problems").querySelector(`[data-kind=${kind}]`)?.remove();

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  show();
}

function keep(name, value) {
  const kept = new URLSearchParams(location.hash.slice(1));
  kept.set(name, value);
  history.replaceState(null, "", `#${kept}`);
}

function listen() {
  for (const id of ["model", "window"]) find(id).onchange = () => { keep(id, find(id).value); refresh(); };
  for (const id of ["metric", "rate", "attribute", "gap"]) find(id).onchange = show;
  for (const id of ["view", "decide"]) find(id).onsubmit = (event) => event.preventDefault();
  find("theme").onchange = () => { localStorage.setItem(THEME, find("theme").value); setTheme(find("theme").value); };
  matchMedia("(prefers-color-scheme: dark)").onchange = () => show();
  find("pause").onclick = () => {
    paused = !paused;
    find("pause").setAttribute("aria-pressed", paused);
    refresh();
  };
  find("token-form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await useToken(find("token").value);
      clearProblem("token");
      find("news").textContent = "The admin token is accepted.";
    } catch (problem) {
      report(problem, "token");
    }
    find("token").value = "";
    find("forget").hidden = !hasToken();
    refresh();
  };
  find("export").onclick = () => last && saveDocument(`fairness-${last.model}-${last.fairness.window.name}`, last.fairness);
  find("forget").onclick = () => { forgetToken(); find("forget").hidden = true; refresh(); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); else clearTimeout(timer); });
}

async function start() {
  const options = (named) => Object.entries(named).map(([value, [text]]) => [value, text]);
  fill(find("metric"), options({ ...GAPS, ...RATES }));
  fill(find("rate"), options(GROUP_RATES));
  fill(find("gap"), ["demographic_parity_difference", "equalized_odds_difference"].map((name) => [name, GAPS[name][0]]));
  find("theme").value = localStorage.getItem(THEME) ?? "auto";
  setTheme(find("theme").value);
  listen();
  const kept = new URLSearchParams(location.hash.slice(1));
  fill(find("window"), windowOptions(), kept.get("window") ?? FITTING);
  await loadModels(kept.get("model"));
}

async function loadModels(wanted) {
  try {
    const { models } = await get("v1/models");
    fill(find("model"), models.map(({ name }) => [name, name]), wanted ?? undefined);
    clearProblem("models");
    await refresh();
  } catch (problem) {
    report(problem, "models");
    setTimeout(() => loadModels(wanted), EVERY_MS);
  }
}

start();

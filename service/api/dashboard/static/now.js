// The serving versions, and possible losses in the figures.

import { element, onChange } from "./dom.js";
import { count, figure, moment, percent, shownName, versionName } from "./format.js";
import { selectionOf } from "./selection.js";

export function showNow(place, rollout, fairness, triggers) {
  const total = Object.values(fairness?.versions ?? {}).reduce((sum, each) => sum + each.n, 0);
  const serving = fairness?.versions[rollout.champion ?? "bare"];
  const gap = serving?.gaps.demographic_parity_difference;
  const { challenger, shadow } = rollout, word = (version) => selectionOf(triggers, version)?.status;
  const facts = [
    ["Champion", versionName(rollout.champion),
      [word(rollout.champion), rollout.applied_revision === rollout.revision ? "" : "not served here yet"].filter(Boolean).join(", ")],
    ["Challenger", challenger ? versionName(challenger.version) : "none", challenger ? [`answers ${percent(challenger.share)}`, word(challenger.version)].filter(Boolean).join(", ") : ""],
    ["Shadows", shadow?.versions.join(", ") || "none", shadow?.versions.length ? `on ${percent(shadow.share)} of inputs` : ""],
    ["Twins", percent(rollout.twin_share), "of inputs run both ways"],
    ["Demographic parity gap", gap && gap.value !== null ? figure(gap).split(" ")[0] : "–",
      gap && gap.value !== null ? `${figure(gap).split(" ").slice(1).join(" ")}, champion, in this time` : "champion, in this time"],
    ["Predictions", count(total), "in this time"],
    ["Revision", `r${rollout.revision}`, rollout.updated_at ? `${moment(rollout.updated_at)}, ${rollout.updated_by}` : ""],
  ];
  onChange(place, facts, () => {
    const list = element("dl", { class: "facts" }, ...facts.map(([name, value, more]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value, more ? element("small", {}, more) : null))));
    place.replaceChildren(list);
  });
}

/** Models that are not served, and models that answer under another trigger than was decided. */
export function showFaults(place, { models, failed }) {
  const told = [
    ...models.filter(({ rollout }) => rollout.fault).map(({ name, rollout }) => `${name}: ${rollout.fault}`),
    ...failed.map(({ name, reason }) => `${name} is not served: ${reason}`),
  ];
  onChange(place, told, () => place.replaceChildren(...told.map((text) => element("p", { class: "problem" }, text))));
}

/** One line: how fresh the figures are, who may see them, and what may be missing. */
export function showFreshness(place, fairness, paused) {
  const parts = [`Counted up to ${moment(fairness.as_of)}`];
  if (fairness.stale) parts.push("STALE: the store of the counts does not answer");
  if (fairness.disclosure) parts.push(`public view: sealed periods only, ${fairness.disclosure.epsilon ? "with noise" : `counts of at least ${fairness.disclosure.k_min}`}`);
  else parts.push("exact and live");
  const loss = fairness.possible_loss;
  if (loss) parts.push(`possible loss: ${count(loss.dropped)} counts dropped and up to ${loss.at_most_seconds} s missing (${loss.reasons.join(", ").replaceAll("_", " ")})`);
  for (const warning of fairness.warnings) parts.push(`${count(warning.n)} predictions of too many groups are counted as “${warning.group}”`);
  const low = Object.entries(fairness.versions).filter(([, each]) => each.warnings.length).map(([name]) => shownName(name));
  if (low.length) parts.push(`fewer than 30 predictions behind some rates of ${low.join(", ")}`);
  if (paused) parts.push("paused");
  place.textContent = parts.join(" · ");
  place.classList.toggle("stale", fairness.stale || Boolean(loss));
}

// The parts of the page that are tables only: the guard's evidence, labels so far, the models, and the services.

import { badge, element, table } from "./dom.js";
import { GAPS, count, moment, number, percent, shownName, versionName } from "./format.js";

const TESTS = {
  disparity_above_limit: "Disparity above the limit",
  worse_than_before: "Worse than before",
  accuracy_lost: "Accuracy lost",
};

export function showGuard(place, { alarms }, rollout) {
  table(place, {
    caption: "Tests that may be looked at whenever one likes; an alarm is raised when the e-value reaches the threshold",
    columns: ["Test", "Of", "Limit", "Evidence", "State"],
    rows: alarms.map((each) => [
      `${TESTS[each.test] ?? each.test}, ${(GAPS[each.metric]?.[0] ?? each.metric ?? "accuracy").toLowerCase()}`,
      versionName(each.version) + (each.against === null ? "" : ` against ${versionName(each.against)}`),
      number(each.limit),
      each.peak === undefined ? "only with the token"
        : `e-value ${each.e_value.toPrecision(3)}, at most ${each.peak.toPrecision(3)} of ${each.threshold.toPrecision(3)}; n ${count(each.n)}`,
      each.fired ? badge(`alarm: ${each.done ?? "raised"}`, "bad") : badge("watching", "good"),
    ]),
    empty: rollout.guard ? "The guard is on and waits for its first sealed minute."
      : "No guard watches this rollout: give it rules (max_disparity, worse_by, accuracy_loss) to be told, or to have versions withdrawn.",
  });
}

export function showCoverage(place, { versions, labels }) {
  table(place, {
    caption: "Labels that came back; where they come for one prediction more than for another, figures that need them are biased",
    columns: ["Group", "Version", "Predicted", "Labelled", "Share"],
    rows: Object.entries(versions).flatMap(([version, { coverage }]) =>
      Object.entries(coverage.by_group).flatMap(([group, predictions]) =>
        Object.entries(predictions).map(([prediction, { labelled, n }]) => [group, shownName(version),
          labels[prediction] ?? prediction, `${count(labelled)} of ${count(n)}`, n ? percent(labelled / n) : "–"]))),
    empty: "No predictions in this time.",
  });
}

export function showModels(place, { models, failed }) {
  table(place, {
    caption: "Bundles as they were loaded; one that fails its self-check is not served",
    columns: ["Model", "Self-check", "Answers as its source", "Computed on", "Fingerprint"],
    rows: [
      ...models.map((each) => [each.name, checkOf(each), likeSource(each.comparison), `${each.device}, ${each.precision}`,
        each.fingerprint.replace("sha256:", "").slice(0, 12)]),
      ...failed.map(({ name, reason }) => [name, element("span", {}, badge("failed", "bad"), ` ${reason}`), null, null, null]),
    ],
  });
}

/** An endpoint is only an address: it was not loaded, but asked. */
function checkOf({ endpoint }) {
  if (!endpoint) return badge("passed", "good");
  const state = badge(endpoint.status, endpoint.status === "answers" ? "good" : "bad");
  return endpoint.reason ? element("span", {}, state, ` ${endpoint.reason}`) : state;
}

function likeSource(comparison) {
  if (!comparison) return "not recorded";
  const { oracle, inputs, largest_difference: largest, flips, accepted } = comparison;
  return `${oracle}: ${count(inputs)} inputs, scores differ by ${largest.toPrecision(2)} at most, ` +
    `${count(flips)} other labels${accepted ? "; written all the same" : ""}`;
}

export function showReplicas(place, { replicas, revision, store_error }) {
  table(place, {
    caption: `Running services; the rollout is at revision ${revision}`,
    columns: ["Service", "Serves", "Champion", "Last heard of"],
    rows: (replicas ?? []).map((each) => [
      each.name,
      each.revision === revision ? badge(`r${each.revision}`, "good")
        : badge(each.refusal ? `r${each.revision}, refused r${each.refused_revision}: ${each.refusal}` : `r${each.revision}, behind`, "bad"),
      versionName(each.champion), moment(each.seen_at),
    ]),
    empty: store_error ? `The store does not answer: ${store_error}` : "The store does not answer.",
  });
}

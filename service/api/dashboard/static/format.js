// Formatting of figures and times.

export const GAPS = {
  demographic_parity_difference: ["Demographic parity difference",
    "Largest minus smallest selection rate of the groups. 0 is equal; no labels are needed."],
  equal_opportunity_difference: ["Equal opportunity difference",
    "Largest minus smallest true positive rate of the groups. Needs labels."],
  false_positive_rate_difference: ["False positive rate difference",
    "Largest minus smallest false positive rate of the groups. Needs labels."],
  equalized_odds_difference: ["Equalized odds difference",
    "The larger of the differences in true and in false positive rate. Needs labels."],
  accuracy_difference: ["Accuracy difference", "Largest minus smallest accuracy of the groups. Needs labels."],
};
export const RATES = {
  selection_rate: ["Selection rate", "Share that is predicted to be the favourable label."],
  accuracy: ["Accuracy", "Share of labelled predictions that are right."],
};
export const GROUP_RATES = {
  ...RATES,
  true_positive_rate: ["True positive rate", "Needs labels."],
  false_positive_rate: ["False positive rate", "Needs labels."],
};

const REASONS = {
  no_labels: "no labels yet",
  insufficient_groups: "fewer than two groups",
  zero_denominator: "no such cases yet",
};

export const percent = (share) => `${+(100 * share).toPrecision(3)} %`;
export const count = (n) => n.toLocaleString("en");
export const reason = (code) => REASONS[code] ?? String(code ?? "undefined").replaceAll("_", " ");

const three = (value) => value.toFixed(3).replace(/^(-?)0\./, "$1.");

/** A figure with its interval, or why there is none. */
export function figure({ value, low, high, reason: why }) {
  if (value === null || value === undefined) return `– (${reason(why)})`;
  return low === null || low === undefined ? three(value) : `${three(value)} (${three(low)} to ${three(high)})`;
}

export const number = (value) => (value === null || value === undefined ? "–" : three(value));

export const moment = (iso) =>
  new Date(iso).toLocaleString("en-GB", { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A moment in the reader's time zone as plotly takes it. */
export function localTime(date) {
  const two = (part) => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export const versionName = (version) =>
  version === null || version === undefined || version === "none" ? "no trigger" : typeof version === "number" ? `v${version}` : version;
export const shownName = (name) => (name === "bare" ? "no trigger" : name);

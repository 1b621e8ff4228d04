// The differences between two rollouts, in sentences for the person who decides.

import { percent, versionName } from "./format.js";

/** Sentences on what `after` changes; none if it changes nothing. */
export function changes(before, after) {
  const told = [];
  if (before.champion !== after.champion) {
    told.push(`${capital(versionName(after.champion))} answers as champion instead of ${versionName(before.champion)}.`);
  }
  told.push(...trial(before.challenger, after.challenger), ...shadows(before.shadow, after.shadow));
  if (before.twin_share !== after.twin_share) {
    told.push(`${percent(after.twin_share)} of inputs also run without a trigger, instead of ${percent(before.twin_share)}.`);
  }
  if (JSON.stringify(sorted(before.guard)) !== JSON.stringify(sorted(after.guard))) {
    told.push(after.guard ? `The guard's rules become ${JSON.stringify(after.guard)}.` : "The rollout sets no guard of its own any more.");
  }
  return told;
}

function trial(before, after) {
  if (same(before, after, ["version", "share"])) return [];
  if (!after) return [`The trial of ${versionName(before.version)} ends.`];
  const instead = before ? `, instead of ${versionName(before.version)} with ${percent(before.share)}` : "";
  return [`${capital(versionName(after.version))} answers ${percent(after.share)} of request keys as challenger${instead}.`];
}

function shadows(before, after) {
  if (same(before, after, ["versions", "share"])) return [];
  if (!after) return ["No version runs in the shadow any more."];
  return [`${after.versions.join(", ")} will be computed in the shadow for ${percent(after.share)} of inputs; nobody gets those answers.`];
}

const same = (a, b, names) =>
  a && b ? names.every((name) => JSON.stringify(a[name]) === JSON.stringify(b[name])) : !a && !b;
const sorted = (guard) => (guard ? Object.entries(guard).sort() : null);
const capital = (text) => (text.startsWith("no ") ? `N${text.slice(1)}` : text);

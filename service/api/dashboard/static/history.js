// The history in sentences, and the rollout that a rollback would return to.

import { percent, versionName } from "./format.js";

const CHANGES = ["activate", "adjust", "rollback"];
const BARE = { champion: null, challenger: null, shadow: { versions: [], share: 1 }, twin_share: 0, guard: null };

export const isChange = (entry) => CHANGES.includes(entry.action);

/** The whole rollout that a change decided. */
const planOf = (entry) => ({ ...BARE, champion: entry.to, ...JSON.parse(entry.detail.rollout ?? "{}") });

/** One sentence about an entry. */
export function story(entry) {
  const to = versionName(entry.to), from = versionName(entry.from);
  if (entry.action === "activate") return `${to} answers instead of ${from}${beside(planOf(entry))}`;
  if (entry.action === "rollback") return `back to ${to}, from ${from}${beside(planOf(entry))}`;
  return `${to} stays${beside(planOf(entry)) || "; nothing beside it"}`;
}

function beside({ challenger, shadow, twin_share }) {
  const parts = [];
  if (challenger) parts.push(`${versionName(challenger.version)} answers ${percent(challenger.share)}`);
  if (shadow?.versions.length) parts.push(`${shadow.versions.map(versionName).join(", ")} in the shadow`);
  if (twin_share) parts.push(`twins ${percent(twin_share)}`);
  return parts.length ? `; ${parts.join(", ")}` : "";
}

/** The rollout before the present one, as the API writes it; undefined unless the whole history is known. */
export function planBefore(entries) {
  if (entries.at(-1)?.seq !== 1) return undefined;
  let stack = [BARE];
  for (const entry of entries.toReversed().filter(isChange)) {
    if (entry.action === "rollback") stack = stack.length > 1 ? stack.slice(0, -1) : stack;
    else if (JSON.stringify(planOf(entry)) !== JSON.stringify(stack.at(-1))) stack.push(planOf(entry));
  }
  return stack.length > 1 ? named(stack.at(-2)) : undefined;
}

function named(plan) {
  const name = (version) => (version === null ? null : `v${version}`);
  return {
    ...plan,
    champion: name(plan.champion),
    challenger: plan.challenger && { ...plan.challenger, version: name(plan.challenger.version) },
    shadow: plan.shadow.versions.length ? { ...plan.shadow, versions: plan.shadow.versions.map(name) } : null,
  };
}

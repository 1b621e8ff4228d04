// The stretches of time that can be shown, and the one that fits what was counted.

const MINUTES = { "5m": 5, "15m": 15, "1h": 60, "6h": 360, "24h": 1440, "7d": 10080, "30d": 43200, "90d": 129600, all: Infinity };
const NAMES = {
  "5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days",
  "90d": "90 days", all: "everything",
};
export const FITTING = "fit";

/** Options of the select; the first one fits, and names the window that it stands for now. */
export const windowOptions = (fitting) =>
  [[FITTING, fitting ? `all there is: ${NAMES[fitting]}` : "all there is"], ...Object.entries(NAMES)];

/** The shortest window that holds every prediction there is; where there is none, the shortest of an hour or more. */
export async function fittingWindow(ask) {
  const count = ({ versions }) => versions.total.n;
  const all = await ask("all"), wanted = count(all);
  const period = all.disclosure?.period_minutes ?? 1; // shorter windows are for the admin token only
  const names = Object.keys(MINUTES).filter((name) => name === "all" || MINUTES[name] % period === 0);
  if (wanted <= 0) return names.find((name) => MINUTES[name] >= 60);
  let low = 0, high = names.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (count(await ask(names[middle])) >= wanted) high = middle;
    else low = middle + 1;
  }
  return names[low];
}

// What a trigger changes on the same inputs: gains with intervals, and flipped predictions by group and direction.

import { bars, draw, lines, styleOf } from "./plot.js";
import { GAPS, count, figure, number, percent } from "./format.js";
import { table } from "./dom.js";

export function showGains(place, flips, fairness) {
  const served = Object.entries(fairness.versions).filter(([version]) => version !== "bare"); // its twins are itself
  const paired = served.filter(([, report]) => report.paired);
  draw(place, {
    traces: paired.map(([version, report]) => trace(version, report.paired.gains)).filter((each) => each.x.length),
    layout: {
      xaxis: { title: { text: "Gain" }, tickformat: ".2f" }, legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
      yaxis: { autorange: "reversed", type: "category" }, scattermode: "group", scattergap: 0.6,
      margin: { l: 60, r: 15, t: 30, b: 50 }, hovermode: "closest",
    },
    describe: `Paired gain in each gap for ${paired.map(([name]) => name).join(", ")}. The table has the figures.`,
    data: {
      caption: "Gains on inputs that ran both ways",
      columns: ["Gap", "Version", "Inputs", "Without the trigger", "With it", "Gain (95 % interval)"],
      rows: paired.flatMap(([version, { paired: found }]) => Object.entries(found.gains).map(([name, gain]) =>
        [GAPS[name]?.[0] ?? name, version, count(found.n), number(gain.before), number(gain.after), figure(gain)])),
    },
    empty: "No twins in this time: set a twin share below to have some inputs run both ways.",
  });
  table(flips, {
    caption: "Predictions that the trigger changed",
    columns: ["Group", "Version", "Inputs", "Changed", "How"],
    rows: served.filter(([, report]) => report.twins).flatMap(([version, { twins }]) =>
      Object.entries(twins.groups).map(([group, found]) => [group, version, count(found.n),
        `${count(found.flipped)} (${percent(found.flipped / found.n)})`, directions(found.flips, fairness.labels)])),
    empty: "No twins in this time.",
  });
}

const directions = (flips, labels) =>
  flips.map(({ bare, with_trigger: now, n }) => `${labels[bare]} to ${labels[now]}: ${count(n)}`).join("; ") || "–";

function trace(version, gains) {
  const { colour, symbol } = styleOf(version);
  const found = Object.entries(gains).filter(([name, gain]) => gain.value !== null && name in GAPS);
  const figures = found.map(([, gain]) => gain);
  return {
    x: figures.map((each) => each.value), y: found.map(([name]) => lines(GAPS[name][0])), orientation: "h",
    text: found.map(([name, gain]) => `${version}, ${GAPS[name][0]}: ${figure(gain)}`), hovertemplate: "%{text}<extra></extra>",
    mode: "markers", name: version, error_x: bars(figures, colour), marker: { color: colour, symbol, size: 10 },
  };
}

// The rates of the groups, with intervals, of every version in the window.

import { bars, draw, styleOf } from "./plot.js";
import { GROUP_RATES, count, figure, shownName } from "./format.js";
import { fill } from "./dom.js";

export function showGroups(place, fairness, rate, attribute) {
  const versions = Object.entries(fairness.versions).map(([name, report]) => [name, groupsOf(report, attribute)]);
  const label = GROUP_RATES[rate][0];
  draw(place, {
    traces: versions.map(([version, groups]) => trace(version, groups, rate)).filter((each) => each.x.length),
    layout: {
      xaxis: { type: "category" }, yaxis: { title: { text: label }, rangemode: "tozero", tickformat: ".2f" },
      scattermode: "group", scattergap: 0.6, hovermode: "closest",
    },
    describe: `${label} of each group under ${versions.map(([name]) => shownName(name)).join(", ")}. The table has the figures.`,
    data: {
      caption: `${label} by group`,
      columns: ["Group", "Version", "Predictions", "Labelled", `${label} (95 % interval)`],
      rows: versions.flatMap(([version, groups]) => Object.entries(groups).map(([group, found]) =>
        [group, shownName(version), count(found.n), count(found.labelled), figure(found[rate])])),
    },
    empty: "No group has enough predictions, or labels, for this rate yet.",
  });
}

/** Offer the attributes by which groups like sex=female,age=old can be compared. */
export function offerAttributes(select, label, fairness) {
  const names = [...new Set(Object.values(fairness.versions).flatMap((report) => Object.keys(report.attributes)))];
  label.hidden = names.length === 0;
  fill(select, [["", "all attributes"], ...names.map((name) => [name, name.replaceAll(",", " and ")])]);
}

/** Group names come from clients, and plotly reads some markup in texts: without angle brackets there is none. */
const plain = (name) => name.replaceAll("<", "‹").replaceAll(">", "›").replaceAll("&", "＆");

const groupsOf = (report, attribute) => report.attributes[attribute]?.groups ?? report.groups;

function trace(version, groups, rate) {
  const { colour, symbol } = styleOf(version);
  const found = Object.entries(groups).filter(([, group]) => group[rate].value !== null);
  const figures = found.map(([, group]) => group[rate]);
  return {
    x: found.map(([name]) => plain(name)), y: figures.map((each) => each.value),
    text: found.map(([name, group]) => `${plain(name)}, ${shownName(version)}: ${figure(group[rate])}, n ${count(group[rate].n)}`),
    hovertemplate: "%{text}<extra></extra>", mode: "markers", name: shownName(version),
    error_y: bars(figures, colour), marker: { color: colour, symbol, size: 10 },
  };
}

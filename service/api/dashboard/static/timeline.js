// Fairness over time, one line per version with intervals, and the decisions of the rollout on the time axis.

import { bars, draw, lines, styleOf } from "./plot.js";
import { GAPS, RATES, count, figure, localTime, moment, shownName } from "./format.js";
import { isChange, story } from "./history.js";
import { table } from "./dom.js";

const MOST_MARKS = 30;

export function showTimeline(place, decisions, series, history, metric) {
  const [name, hint] = GAPS[metric] ?? RATES[metric];
  document.getElementById("metric-hint").textContent =
    `${hint} Steps of ${series.step}; bars are 95 % intervals; dotted lines are decisions.`;
  const values = (version) => (metric in GAPS ? version.gaps[metric] : version[metric]);
  const range = rangeOf(series);
  const marks = history.entries.filter((entry) => isChange(entry) && inside(entry.at, range)).slice(0, MOST_MARKS);
  const versions = [...new Set(series.points.flatMap((point) => Object.keys(point.versions)))];
  const traces = versions.map((version) => trace(series.points, version, values)).filter((each) => each.y.length);
  draw(place, {
    traces,
    layout: {
      xaxis: { type: "date", range: range?.map(localTime) }, yaxis: { title: { text: lines(name, 30) }, rangemode: "tozero", tickformat: ".2f" },
      hovermode: "closest", margin: { l: 60, r: 40, t: 48, b: 45 }, ...markLines(marks, range),
    },
    describe: `${name} over time for ${traces.map((each) => each.name).join(", ")}; ${marks.length} decisions are marked. The table has the figures.`,
    data: {
      caption: `${name} over time`,
      columns: ["From", "Version", "Predictions", "Labelled", "Value (95 % interval)"],
      rows: series.points.toReversed().flatMap((point) => Object.entries(point.versions).map(([version, found]) =>
        [moment(point.since), shownName(version), count(found.n), count(found.labelled), figure(values(found))])),
    },
    empty: emptyText(series),
  });
  table(decisions, {
    caption: "Decisions in this time, newest first",
    columns: ["Revision", "When", "Who", "What", "Why"],
    rows: marks.map((entry) => [`r${entry.revision}`, moment(entry.at), entry.actor, story(entry), entry.reason || "–"]),
    empty: "No decisions in this time.",
  });
}

export function emptyText({ disclosure }) {
  if (!disclosure) return "Nothing to draw in this time: a gap needs predictions of two groups, and some figures need labels.";
  const hours = disclosure.period_minutes / 60;
  return `Nothing to show. Without the admin token there are only sealed periods of ${hours === 1 ? "an hour" : `${hours} hours`}, ` +
    `${disclosure.wait_hours} hours after their end, and groups with enough predictions. The token shows exact live figures.`;
}

function trace(points, version, values) {
  const { colour, symbol } = styleOf(version);
  const x = [], y = [], found = [], text = [];
  let end = null;
  for (const point of points) {
    const each = point.versions[version] && values(point.versions[version]);
    if (!each || each.value === null) continue;
    if (end !== null && point.since !== end) { // a step without figures breaks the line
      x.push(localTime(new Date(end))); y.push(null); found.push({ value: 0, low: 0, high: 0 }); text.push("");
    }
    end = point.until;
    x.push(localTime(new Date((Date.parse(point.since) + Date.parse(point.until)) / 2)));
    y.push(each.value); found.push(each);
    text.push(`${shownName(version)}: ${figure(each)}, n ${count(each.n)}`);
  }
  return {
    x, y, text, name: shownName(version), mode: "lines+markers", hovertemplate: "%{text}<extra></extra>", connectgaps: false,
    error_y: bars(found, colour), line: { color: colour, width: 2 }, marker: { color: colour, symbol, size: 8 },
  };
}

function rangeOf(series) {
  const since = series.window.since ?? series.points[0]?.since;
  return since ? [new Date(since), new Date(series.window.until)] : undefined;
}

const inside = (iso, range) => range && Date.parse(iso) >= +range[0] && Date.parse(iso) <= +range[1];

/** Dotted lines with the revision above; neighbours that are close are written at different heights. */
function markLines(marks, range) {
  if (!range) return {};
  const near = (range[1] - range[0]) * 0.035;
  let last = -Infinity, height = 0;
  const placed = marks.toReversed().map((entry) => {
    const at = Date.parse(entry.at);
    height = at - last < near ? (height + 1) % 3 : 0;
    last = at;
    return { x: localTime(new Date(at)), entry, height };
  });
  return {
    shapes: placed.map(({ x }) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1.5, color: styleOf("bare").colour } })),
    annotations: placed.map(({ x, entry, height }) => ({
      x, y: 1, yref: "paper", yanchor: "bottom", yshift: height * 14, showarrow: false, font: { size: 11 },
      text: entry.actor === "guard" ? `guard r${entry.revision}` : `r${entry.revision}`,
    })),
  };
}

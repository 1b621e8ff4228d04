// The front of versions: accuracy against a gap. Up and to the left is better; a version beaten in both is paler.

import { bars, draw, styleOf } from "./plot.js";
import { GAPS, count, figure, shownName } from "./format.js";
import { selectionOf } from "./selection.js";

export function showFront(place, fairness, gap, triggers) {
  const label = GAPS[gap][0];
  const full = fairness.front.filter((each) => each.accuracy.value !== null && each[gap].value !== null);
  draw(place, {
    traces: full.map((each) => trace(each, gap)),
    layout: {
      xaxis: { title: { text: `${label}<br>(smaller is fairer)` }, rangemode: "tozero", tickformat: ".2f" },
      yaxis: { title: { text: "Accuracy" }, tickformat: ".2f" }, showlegend: false, hovermode: "closest",
      margin: { l: 60, r: 75, t: 15, b: 50 },
    },
    describe: `Accuracy against ${label.toLowerCase()}: ${full.map((each) => `${nameOf(each)} ${figure(each.accuracy)} against ${figure(each[gap])}`).join("; ")}.`,
    data: {
      caption: `Accuracy against ${label.toLowerCase()}`,
      columns: ["Version", "Standing", "Predictions", "Labelled", "Accuracy", label, "Beaten in both by"],
      rows: fairness.front.map((each) => [nameOf(each), selectionOf(triggers, each.version)?.status, count(each.n), count(each.labelled), figure(each.accuracy),
        figure(each[gap]), each[gap].beaten_by === null ? "unknown" : each[gap].beaten_by.map(shownName).join(", ") || "nobody"]),
    },
    empty: "Accuracy needs labels: send them to /feedback with the prediction_id of an answer.",
  });
}

const nameOf = ({ version, shadow }) => (shadow ? `${version} in the shadow` : shownName(version));

function trace(each, gap) {
  const { colour, symbol } = styleOf(each.version);
  return {
    x: [each[gap].value], y: [each.accuracy.value], mode: "markers+text", text: [nameOf(each)],
    textposition: "top right", cliponaxis: false, textfont: { color: colour }, name: nameOf(each),
    hovertext: [`${nameOf(each)}: accuracy ${figure(each.accuracy)}, gap ${figure(each[gap])}`],
    hovertemplate: "%{hovertext}<extra></extra>",
    error_x: bars([each[gap]], colour), error_y: bars([each.accuracy], colour),
    marker: { color: colour, opacity: each[gap].beaten_by?.length ? 0.5 : 1, symbol: each.shadow ? `${symbol}-open` : symbol, size: 12 },
  };
}

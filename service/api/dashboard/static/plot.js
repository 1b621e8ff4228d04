// Charts by plotly. Each is a picture with a description for those who do not see it, and a table with its figures.

import { element, onChange, table } from "./dom.js";

const COLOURS = {
  light: ["#1f5fbf", "#c4420d", "#0b7a5b", "#8a3fa0", "#7a6000", "#b3235f", "#3c6e8f", "#5b5b1f"],
  dark: ["#82b4ff", "#ff9e6b", "#5fd0a5", "#d59cf0", "#e0c050", "#ff8fb8", "#8fc7e8", "#cfcf7a"],
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "star", "pentagon", "hexagon"];
const drawn = new Set();

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

const colour = (name) => {
  const probe = document.body.appendChild(element("span", { hidden: true, class: `ink-${name}` }));
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};

/** The colour and the symbol of a version, the same in every chart; the model without a trigger is grey. */
export function styleOf(name) {
  if (name === "bare") return { colour: colour("soft"), symbol: "x" };
  const index = Math.max(0, Number(String(name).slice(1)) - 1);
  return { colour: COLOURS[isDark() ? "dark" : "light"][index % 8], symbol: SYMBOLS[index % 8] };
}

/** A long name in lines of about `most` letters, for a narrow chart. */
export function lines(text, most = 18) {
  const found = [""];
  for (const word of text.split(" ")) {
    if (found.at(-1) && `${found.at(-1)} ${word}`.length > most) found.push(word);
    else found.push(`${found.pop()} ${word}`.trim());
  }
  return found.join("<br>");
}

/** Error bars from intervals: plotly wants distances. */
export const bars = (figures, stroke) => ({
  type: "data", symmetric: false, thickness: 1.3, width: 3, color: stroke,
  array: figures.map((each) => each.high - each.value), arrayminus: figures.map((each) => each.value - each.low),
});

/** Draw traces and their table into a figure; `describe` says in words what the picture shows. */
export function draw(figure, { traces, layout, describe, data, empty }) {
  const [chart, details] = parts(figure, data.caption);
  const none = traces.length === 0;
  chart.hidden = none;
  figure.querySelector(".empty").hidden = !none;
  figure.querySelector(".empty").textContent = empty ?? "";
  details.hidden = none;
  if (none) return;
  table(details.lastElementChild, data);
  chart.setAttribute("aria-label", describe);
  onChange(chart, [traces, layout, isDark()], () => {
    Plotly.react(chart, traces, themed(layout), { displayModeBar: false, responsive: true });
    drawn.add(chart);
  });
}

function parts(figure, caption) {
  if (!figure.firstElementChild) {
    figure.append(
      element("div", { class: "chart", role: "img" }),
      element("p", { class: "empty", hidden: true }),
      element("details", {}, element("summary", {}, `Table: ${caption}`), element("div")),
    );
  }
  return [figure.children[0], figure.children[2]];
}

function themed(layout) {
  const ink = colour("ink"), line = colour("line"), card = colour("card");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13, family: "system-ui, sans-serif" },
    margin: { l: 55, r: 15, t: 30, b: 45 }, showlegend: true, legend: { orientation: "h", y: -0.2, x: 0 },
    hoverlabel: { bgcolor: card, bordercolor: line, font: { color: ink } }, dragmode: false,
    ...layout,
    xaxis: { ...axis, fixedrange: true, ...layout.xaxis }, yaxis: { ...axis, fixedrange: true, ...layout.yaxis },
  };
}

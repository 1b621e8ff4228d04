// DOM helpers: text never becomes markup, and unchanged parts keep their focus and scroll position.

import { saveTable } from "./download.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A short word in a frame; `kind` is good, bad or empty. */
export const badge = (text, kind = "") => element("span", { class: `badge ${kind}`.trim() }, text);

const shown = new WeakMap();

/** Run `build` for `parent` only if `data` differs from last time. */
export function onChange(parent, data, build) {
  const key = JSON.stringify(data);
  if (shown.get(parent) === key) return;
  shown.set(parent, key);
  build();
}

/**
 * A table with a caption in a box that can be scrolled by keyboard, and a button that saves it as CSV; `rows` hold texts or
 * nodes, the first is the head.
 */
export function table(parent, { caption, columns, rows, empty = "Nothing yet." }) {
  onChange(parent, [caption, columns, rows.map((row) => row.map((cell) => cell?.outerHTML ?? cell)), empty], () => {
    if (!rows.length) return parent.replaceChildren(element("p", { class: "empty" }, empty));
    const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)));
    const body = rows.map(([first, ...rest]) =>
      element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((cell) => element("td", {}, cell ?? "–"))));
    const made = element("table", {},
      element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body));
    const save = element("button", { type: "button", class: "save", "aria-label": `CSV of: ${caption}` }, "CSV");
    save.onclick = () => saveTable(caption, columns, rows);
    parent.replaceChildren(element("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 }, made), save);
  });
}

/** Fill a select, keeping its choice where that is still there; options are [value, text]. */
export function fill(select, options, chosen = select.value) {
  onChange(select, options, () =>
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text))));
  const values = options.map(([value]) => value);
  select.value = values.includes(chosen) ? chosen : values[0] ?? "";
}

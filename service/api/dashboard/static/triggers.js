// The versions of a model: picture or tokens, objective, figures on held-out data, and the whole card to take along.

import { get, modelPath } from "./api.js";
import { badge, element, onChange } from "./dom.js";
import { saveDocument } from "./download.js";
import { number } from "./format.js";
import { standing } from "./selection.js";

const cards = new Map();

/** Show all versions; cards are asked for once, since a published version never changes. */
export async function showTriggers(list, model, triggers, rollout) {
  const fetched = await Promise.all(triggers.map(({ version, digest }) => cardOf(model, version, digest)));
  const items = triggers.map((each, i) => ({ ...each, ...facts(fetched[i]), roles: rolesOf(each.version, rollout) }));
  onChange(list, items, () => {
    if (items.length) list.replaceChildren(...items.map((item, i) => card(model, item, fetched[i].card)));
    else list.replaceChildren(element("li", {}, "No version is published yet."));
  });
}

async function cardOf(model, version, digest) {
  const key = `${model} ${version} ${digest}`, path = modelPath(model, `/triggers/${version}`);
  if (!cards.has(key)) {
    const card = await get(path);
    const inserted = card.manifest.modality === "text" ? await get(`${path}/tokens`).catch(() => null) : null;
    cards.set(key, { card, tokens: inserted?.tokens ?? [], position: inserted?.position });
  }
  return cards.get(key);
}

function facts({ card: { manifest, evaluation }, tokens, position }) {
  const report = evaluation.test ?? Object.values(evaluation)[0];
  const { bare, trigger } = report ?? {};
  return {
    image: manifest.modality === "image",
    words: manifest.words,
    tokens, position,
    size: manifest.geometry.tokens,
    accuracy: [bare, trigger].map((each) => number(each?.overall.accuracy.value)),
    gap: [bare, trigger].map((each) => number(each?.gaps.demographic_parity_difference.value)),
  };
}

function rolesOf(version, { champion, challenger, shadow }) {
  return [
    version === champion && "champion",
    version === challenger?.version && `challenger ${+(100 * challenger.share).toFixed(1)} %`,
    shadow?.versions.includes(version) && "shadow",
  ].filter(Boolean);
}

function card(model, item, document) {
  const { name, strength } = item.objective;
  return element("li", { class: item.roles.includes("champion") ? "serving" : "" },
    element("h3", {}, `${item.version} `, ...item.roles.map((role) => badge(role))),
    standing(item.selection) ?? element("p", { class: "standing" }, badge("not judged"), " it records no selection on validation"),
    item.image ? picture(model, item) : element("p", {}, wordsOf(item)),
    item.tokens.length ? tokensOf(item) : null,
    element("p", {}, `${item.kind}; ${name}${strength === undefined ? "" : `, strength ${strength}`}`),
    element("p", {}, `Held-out accuracy ${item.accuracy[1]}, without it ${item.accuracy[0]}`),
    element("p", {}, `Held-out parity gap ${item.gap[1]}, without it ${item.gap[0]}`),
    cardButton(model, item.version, document));
}

/** The store holds no report of a run; the card has its configuration, its counts and every figure that follows from them. */
function cardButton(model, version, document) {
  const button = element("button", { type: "button", "aria-label": `Card as JSON: ${version}` }, "Card as JSON");
  button.onclick = () => saveDocument(`${model}-${version}`, document);
  return button;
}

/** Every token with its weight: the length of its vector, which bars compare within the trigger. */
function tokensOf({ version, tokens, position }) {
  const longest = Math.max(...tokens.map(({ norm }) => norm ?? 0));
  const rows = tokens.map(({ word, norm }, i) => element("tr", {},
    element("th", { scope: "row" }, word ?? `vector ${i + 1}`),
    element("td", {}, norm === null ? "–" : norm.toPrecision(3)),
    element("td", {}, norm ? element("meter", { min: 0, max: longest, value: norm, "aria-hidden": "true" }) : "")));
  return element("table", { class: "tokens" },
    element("caption", {}, `Tokens of ${version}, ${position.replaceAll("_", " ")}, and the length of their vectors`),
    element("tbody", {}, ...rows));
}

const picture = (model, { version, kind }) => element("img", {
  src: modelPath(model, `/triggers/${version}/preview.png`), loading: "lazy", alt: `${version}, a trigger of kind ${kind}, on mid grey`,
});

const wordsOf = ({ words, size }) =>
  words ? `Words: “${words.join(" ")}”` : `${size} learned embeddings, which are no words`;

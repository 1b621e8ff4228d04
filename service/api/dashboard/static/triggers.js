// The versions of a model: picture or words, objective, and figures on held-out data.

import { get, modelPath } from "./api.js";
import { badge, element, onChange } from "./dom.js";
import { number } from "./format.js";
import { standing } from "./selection.js";

const cards = new Map();

/** Show all versions; cards are asked for once, since a published version never changes. */
export async function showTriggers(list, model, triggers, rollout) {
  const fetched = await Promise.all(triggers.map(({ version, digest }) => cardOf(model, version, digest)));
  const items = triggers.map((each, i) => ({ ...each, ...facts(fetched[i]), roles: rolesOf(each.version, rollout) }));
  onChange(list, items, () => {
    if (items.length) list.replaceChildren(...items.map((item) => card(model, item)));
    else list.replaceChildren(element("li", {}, "No version is published yet."));
  });
}

async function cardOf(model, version, digest) {
  const key = `${model} ${version} ${digest}`;
  if (!cards.has(key)) cards.set(key, await get(modelPath(model, `/triggers/${version}`)));
  return cards.get(key);
}

function facts({ manifest, evaluation }) {
  const report = evaluation.test ?? Object.values(evaluation)[0];
  const { bare, trigger } = report ?? {};
  return {
    image: manifest.modality === "image",
    words: manifest.words,
    tokens: manifest.geometry.tokens,
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

function card(model, item) {
  const { name, strength } = item.objective;
  return element("li", { class: item.roles.includes("champion") ? "serving" : "" },
    element("h3", {}, `${item.version} `, ...item.roles.map((role) => badge(role))),
    standing(item.selection),
    item.image ? picture(model, item) : element("p", {}, wordsOf(item)),
    element("p", {}, `${item.kind}; ${name}${strength === undefined ? "" : `, strength ${strength}`}`),
    element("p", {}, `Held-out accuracy ${item.accuracy[1]}, without it ${item.accuracy[0]}`),
    element("p", {}, `Held-out parity gap ${item.gap[1]}, without it ${item.gap[0]}`));
}

const picture = (model, { version, kind }) => element("img", {
  src: modelPath(model, `/triggers/${version}/preview.png`), loading: "lazy", alt: `${version}, a trigger of kind ${kind}, on mid grey`,
});

const wordsOf = ({ words, tokens }) =>
  words ? `Words: “${words.join(" ")}”` : `${tokens} learned embeddings, which are no words`;

// The word that validation earned a version, and its grounds.

import { badge, element } from "./dom.js";

const KINDS = { certified: "good", promising: "", "not recommended": "bad" };

/** The selection of a version in the list of triggers; null for the bare model and for versions of older releases. */
export const selectionOf = (triggers, version) => triggers.find((each) => each.version === version)?.selection ?? null;

/** The word as a badge, and the grounds beside it. */
export function standing(selection) {
  if (!selection) return null;
  const { status, sentence } = selection, mark = badge(status, KINDS[status]);
  mark.title = sentence;
  return element("p", { class: "standing" }, mark, ` ${sentence.slice(sentence.indexOf(": ") + 2)}`);
}

/** Sentences on versions that would answer under `after`, do not under `before`, and are not certified. */
export function cautions(triggers, before, after) {
  const answering = ({ champion, challenger }) => [champion, challenger?.version].filter(Boolean);
  return answering(after).filter((version) => !answering(before).includes(version))
    .map((version) => [version, selectionOf(triggers, version)])
    .filter(([, selection]) => selection && selection.status !== "certified")
    .map(([version, { sentence }]) => `${version} is ${sentence}`);
}

// Footnote markers in an answer's text: "[1]", "[1, 3]", "【2】".

import { element } from "./dom.js";

const MARKER = /\s*[[【［]\s*(\d{1,3}(?:\s*[,，、;；]\s*\d{1,3})*)\s*[\]】］]/g;
const LEADING = new RegExp(`^(?:\\s|${MARKER.source})*`);
// White space may turn out to stand before a marker, and a bracket to open one: both wait for what follows.
const UNSETTLED = /\s+$|\s*[[【［][\d\s,，、;；]{0,40}$/;

/** How much of a text's beginning is white space and markers: they belong to the sentence before. */
export const gapLength = (text) => text.match(LEADING)[0].length;

/** Append text with half a line between its paragraphs, its markers replaced by what `markerElement(number)` makes of them. */
export function appendMarked(target, text, markerElement) {
  let at = 0;
  for (const match of text.matchAll(MARKER)) {
    appendParagraphs(target, text.slice(at, match.index));
    const numbers = match[1].split(/\D+/).map(Number);
    target.append(element("sup", {}, ...numbers.map(markerElement)));
    at = match.index + match[0].length;
  }
  appendParagraphs(target, text.slice(at));
}

function appendParagraphs(target, text) {
  text.split(/\n\s*\n/).forEach((paragraph, index) => {
    if (index > 0) target.append(element("span", { className: "gap" }));
    target.append(paragraph);
  });
}

/** Text that arrives in pieces, in which a marker may be cut in two. */
export class GrowingText {
  constructor(target, markerElement) {
    this.target = target;
    this.markerElement = markerElement;
    this.text = "";
    this.pending = "";
  }

  add(text) {
    this.text += text;
    this.pending += text;
    this.#flush();
  }

  #flush() {
    const settled = this.pending.replace(UNSETTLED, "").length;
    appendMarked(this.target, this.pending.slice(0, settled), this.markerElement);
    this.pending = this.pending.slice(settled);
  }

  /** What stands before `rest` has been shown in another way. */
  resume(rest) {
    this.pending = rest;
    this.#flush();
  }

  finish() {
    appendMarked(this.target, this.pending, this.markerElement);
    this.pending = "";
  }
}

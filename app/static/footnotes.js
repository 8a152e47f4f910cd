// The evidence below an answer: one card for every source that it cites, with the exact quotes.

import { element, quoted } from "./dom.js";
import { say } from "./i18n.js";

const SEVERITY = ["supported", "partial", "unsupported"];

/** Where a quote stands: "handbook.pdf, page 4". */
export function placeOf(source) {
  const page = pageOf(source);
  return page ? `${source.filename}, ${page}` : source.filename;
}

/** "page 4", or "page iv" where the file calls it so; nothing where it has no pages. */
export function pageOf({ page, page_label }) {
  return page && say("page", page_label ?? page);
}

/** A card for each marker. `supportOf(citation)` is null as long as no sentence that leans on it has a verdict. */
export function footnoteCards(citations, supportOf, open) {
  const byMarker = groupByMarker(citations);
  const cards = [...byMarker].sort(([a], [b]) => a - b).map(([marker, group]) => {
    const quotes = group.map((citation) => quoteButton(citation, supportOf(citation), open));
    return element("li", { className: "card", value: marker }, cardHead(marker, group[0]), ...quotes);
  });
  return element("ol", { className: "cards" }, ...cards);
}

/** The passages that came closest, when none of them answers. */
export function passageCards(passages, open) {
  const cards = passages.map((passage) => {
    const source = { ...passage, quote: passage.text };
    return element("li", { className: "card" }, cardHead(null, passage), quoteButton(source, null, open));
  });
  return element("ul", { className: "cards" }, ...cards);
}

/** The verdict on a quote is the worst of the sentences that lean on it. */
export function worst(supports) {
  return supports.reduce((a, b) => (SEVERITY.indexOf(b) > SEVERITY.indexOf(a) ? b : a), supports[0] ?? null);
}

function cardHead(marker, source) {
  const { filename, headings } = source;
  const page = pageOf(source);
  const head = element("p", { className: "card-head" });
  if (marker !== null) head.append(element("span", { className: "card-number", textContent: marker }));
  head.append(quoted("span", filename, "card-file"));
  if (page) head.append(element("span", { className: "card-page", textContent: page }));
  if (headings?.length) head.append(quoted("span", headings.join(" › "), "card-page"));
  return head;
}

function quoteButton(source, support, open) {
  const button = element("button", { type: "button", className: "quote" }, quoted("q", source.quote));
  if (support) {
    const title = say("supportHint")[support];
    const badge = element("span", { className: "badge", title, textContent: say("support")[support] });
    badge.dataset.support = support;
    button.append(badge);
  }
  button.addEventListener("click", () => open(source, button));
  return button;
}

function groupByMarker(citations) {
  const groups = new Map();
  for (const citation of citations) groups.set(citation.marker, [...(groups.get(citation.marker) ?? []), citation]);
  return groups;
}

// One question with its answer: first as it streams in, then whole, every sentence with its verdict.

import { byId, element, languageOf, quoted, setLine } from "./dom.js";
import { footnoteCards, passageCards, placeOf, worst } from "./footnotes.js";
import { joinSentences, language, say, sayError } from "./i18n.js";
import { matchCitations } from "./leaning.js";
import { appendMarked, gapLength, GrowingText } from "./markers.js";
import { ratingButtons } from "./rating.js";

const MOST_NEAREST = 3;
const STAGES = ["embed", "search", "rerank", "prompt", "generate", "verify", "weigh"]; // one after the other

export class AnswerView {
  /** `open(source, opener)` shows a source's document. */
  constructor(question, open) {
    this.open = open;
    this.passages = [];
    this.citations = [];
    this.sentences = [];
    this.text = element("div", { className: "answer-text", dir: "auto" });
    this.text.setAttribute("aria-live", "polite");
    this.text.setAttribute("aria-busy", "true");
    this.wait = element("p", { className: "waiting", textContent: say("searching") });
    this.steps = element("ol", { className: "small steps", hidden: true, dir: "auto" });
    this.notice = element("p", { className: "notice", role: "status", hidden: true });
    this.evidence = element("section", { className: "evidence" });
    this.meta = element("p", { className: "small meta", hidden: true });
    this.growing = new GrowingText(this.text, (number) => this.#marker(number, this.#passage(number)));
    this.root = element("article", { className: "turn" }, quoted("h2", question, "question"));
    this.root.append(this.steps, this.wait, this.text, this.notice, this.evidence, this.meta);
    byId("turns").append(this.root);
  }

  /** Something that was done to find passages: the steps of an answer stay above it. */
  step({ action, arguments: details, found }) {
    const told = { split: details.parts, rewrite: details.queries, search: details.query, read: details.document };
    if (!told[action]?.length) return;
    const words = [told[action]].flat().join(" · ");
    const count = action === "search" || action === "read" ? found : null;
    this.steps.append(element("li", { textContent: say("step", action, words, count) }));
    this.steps.hidden = false;
  }

  sources(passages) {
    this.passages = passages;
  }

  delta(text) {
    this.wait.hidden = true;
    this.growing.add(text);
    this.text.lang = languageOf(this.growing.text);
  }

  /** A sentence that is now complete, with its verdict and a citation; `marker` is null where it cites nothing. */
  citation({ sentence, support, attributed, ...citation }) {
    if (this.sentences.at(-1)?.start !== sentence.start) this.sentences.push(sentence);
    const isKnown = this.citations.some((known) => sameQuote(known, citation));
    if (citation.marker !== null && !isKnown) this.citations.push(citation);
    this.growing.resume(this.#showSentences(this.growing.text));
  }

  /** The whole answer. */
  done(answer) {
    this.#showWhole(answer);
    const notices = [];
    if (answer.degraded) notices.push(say("degraded"));
    if (!answer.answerable && !this.passages.length) notices.push(say("nothingFound"));
    if (answer.sentences.some(({ support }) => support !== "supported")) notices.push(say("underlined"));
    if (answer.sentences.some(({ attributed }) => attributed)) notices.push(say("attributed"));
    // A reason without a field of its own (an answer cut at its limit) is told in the service's words.
    if (answer.reason && answer.answerable && !answer.degraded) notices.unshift(answer.reason);
    setLine(this.notice, joinSentences(notices));
    if (!answer.answerable) this.#showNearest();
    this.#showMeta(answer);
    this.root.append(ratingButtons(answer.id));
  }

  /** A turn of a stored conversation. */
  recalled(turn) {
    this.#showWhole(turn);
    setLine(this.notice, joinSentences([turn.partial && say("brokenOff"), turn.missing_citations && say("lostSources")]));
    this.root.append(ratingButtons(turn.id, turn.rating));
  }

  /** Broken off: what was said so far stands, with a line that says so. */
  failed(error, answer) {
    if (answer) this.#showWhole(answer);
    this.#end(joinSentences([this.growing.text && say("brokenOff"), sayError(error)]));
    this.notice.classList.add("problem");
  }

  stopped() {
    this.#end(say("stopped"));
  }

  #end(notice) {
    this.growing.finish();
    this.#settle();
    setLine(this.notice, notice);
  }

  #showWhole(answer) {
    this.growing = new GrowingText(this.text, null);
    this.growing.text = answer.answer;
    this.text.lang = languageOf(answer.answer);
    this.citations = answer.citations;
    this.sentences = answer.sentences;
    appendMarked(this.text, this.#showSentences(answer.answer), (number) => this.#marker(number, this.#passage(number)));
    this.#settle();
  }

  /** The sentences that are known, each with its verdict, and their footnotes; returns the text behind them. */
  #showSentences(text) {
    const characters = Array.from(text); // offsets count code points
    const slice = (start, end) => characters.slice(start, end).join("");
    const sentences = this.sentences.map((each) => ({ ...each, words: slice(each.start, each.end) }));
    const matches = matchCitations(sentences, this.citations);
    this.text.replaceChildren();
    let [at, markerElement] = [0, (number) => this.#marker(number, this.#passage(number))];
    sentences.forEach((sentence, index) => {
      appendMarked(this.text, slice(at, sentence.start), markerElement); // the markers behind the sentence before
      markerElement = (number) => this.#marker(number, matches[index].get(number) ?? this.#passage(number));
      this.text.append(sentenceElement(sentence, markerElement));
      at = sentence.end;
    });
    const gap = gapLength(slice(at));
    appendMarked(this.text, slice(at).slice(0, gap), markerElement);
    const leaning = (citation) => sentences.filter((_, index) => matches[index].get(citation.marker) === citation);
    this.#showFootnotes((citation) => worst(leaning(citation).map(({ support }) => support)));
    return slice(at).slice(gap);
  }

  #showFootnotes(supportOf) {
    if (!this.citations.length) return this.evidence.replaceChildren();
    const cards = footnoteCards(this.citations, supportOf, this.open);
    return this.evidence.replaceChildren(element("h3", { textContent: say("footnotes") }), cards);
  }

  #showNearest() {
    if (!this.passages.length) return;
    const cards = passageCards(this.passages.slice(0, MOST_NEAREST), this.open);
    this.evidence.replaceChildren(element("h3", { textContent: say("nearest") }), cards);
  }

  #showMeta(answer) {
    const total = STAGES.reduce((sum, stage) => sum + (answer.timings_ms[stage] ?? 0), 0);
    const [value, unit] = total < 1000 ? [Math.ceil(total), "millisecond"] : [total / 1000, "second"];
    const took = value.toLocaleString(language, { style: "unit", unit, maximumFractionDigits: 1 });
    const made = answer.mode === "generate" ? answer.model : answer.answerable && say("extractive");
    setLine(this.meta, [made, took].filter(Boolean).join(" · "));
  }

  #settle() {
    this.wait.hidden = true;
    this.text.setAttribute("aria-busy", "false");
  }

  #passage(number) {
    const passage = this.passages[number - 1];
    return passage && { ...passage, quote: passage.text };
  }

  #marker(number, source) {
    if (!source) {
      return element("span", { className: "marker unknown", textContent: number, title: say("noSuchSource") });
    }
    const place = placeOf(source);
    const marker = element("button", { type: "button", className: "marker", textContent: number, title: place });
    marker.setAttribute("aria-label", say("footnoteLabel", number, place));
    marker.addEventListener("click", () => this.open(source, marker));
    return marker;
  }
}

function sentenceElement(sentence, markerElement) {
  const created = element("span", { className: "sentence" });
  created.dataset.support = sentence.support;
  appendMarked(created, sentence.words, markerElement);
  if (sentence.attributed) created.append(attributedMarkers(sentence.markers.map(markerElement)));
  if (sentence.support !== "supported") created.title = reasons(sentence);
  if (sentence.support === "unsupported") created.append(flag(created.title));
  return created;
}

/** Markers that the model did not write: their source was found by what the sentence says. */
function attributedMarkers(markers) {
  for (const marker of markers) {
    marker.classList.add("attributed");
    marker.title = `${marker.title} · ${say("attributedHint")}`;
  }
  return element("sup", {}, ...markers);
}

function flag(reason) {
  const created = element("span", { className: "flag", textContent: "?", role: "img" });
  created.setAttribute("aria-label", reason);
  return element("sup", {}, created);
}

/** What is wrong with a sentence, as far as the service knows. */
function reasons({ support, markers, problems }) {
  const known = problems.map(({ check, text }) => say("problems")[check]?.(text)).filter(Boolean);
  if (known.length) return joinSentences(known);
  return markers.length ? say("supportHint")[support] : say("uncited");
}

function sameQuote(one, other) {
  return one.marker === other.marker && one.start === other.start && one.end === other.end;
}

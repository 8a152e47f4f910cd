// One question with its answer: first as it streams in, then whole, every sentence with its verdict.

import { byId, element, languageOf, quoted, setLine } from "./dom.js";
import { footnoteCards, passageCards, placeOf, worst } from "./footnotes.js";
import { joinSentences, language, say, sayError } from "./i18n.js";
import { matchCitations } from "./leaning.js";
import { appendMarked, GrowingText } from "./markers.js";
import { ratingButtons } from "./rating.js";

const MOST_NEAREST = 3;
const STAGES = ["embed", "search", "rerank", "prompt", "generate", "verify"]; // one after the other

export class AnswerView {
  /** `open(source, opener)` shows a source's document. */
  constructor(question, open) {
    this.open = open;
    this.passages = [];
    this.citations = [];
    this.text = element("div", { className: "answer-text", dir: "auto" });
    this.text.setAttribute("aria-live", "polite");
    this.text.setAttribute("aria-busy", "true");
    this.wait = element("p", { className: "waiting", textContent: say("searching") });
    this.notice = element("p", { className: "notice", role: "status", hidden: true });
    this.evidence = element("section", { className: "evidence" });
    this.meta = element("p", { className: "small meta", hidden: true });
    this.growing = new GrowingText(this.text, (number) => this.#marker(number, this.#passage(number)));
    this.root = element("article", { className: "turn" }, quoted("h2", question, "question"));
    this.root.append(this.wait, this.text, this.notice, this.evidence, this.meta);
    byId("turns").append(this.root);
  }

  sources(passages) {
    this.passages = passages;
  }

  delta(text) {
    this.wait.hidden = true;
    this.growing.add(text);
    this.text.lang = languageOf(this.growing.text);
  }

  citation(citation) {
    this.citations.push(citation);
    this.#showFootnotes(() => null);
  }

  /** The whole answer. */
  done(answer) {
    this.#showWhole(answer);
    const notices = [];
    if (answer.degraded) notices.push(say("degraded"));
    if (!answer.answerable && !this.passages.length) notices.push(say("nothingFound"));
    if (answer.sentences.some(({ support }) => support !== "supported")) notices.push(say("underlined"));
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
    const characters = Array.from(answer.answer); // offsets count code points
    const slice = (start, end) => characters.slice(start, end).join("");
    const sentences = answer.sentences.map((each) => ({ ...each, words: slice(each.start, each.end) }));
    const matches = matchCitations(sentences, answer.citations);
    this.growing = new GrowingText(this.text, null);
    this.growing.text = answer.answer;
    this.text.replaceChildren();
    this.text.lang = languageOf(answer.answer);
    let [at, markerElement] = [0, (number) => this.#marker(number, this.#passage(number))];
    sentences.forEach((sentence, index) => {
      appendMarked(this.text, slice(at, sentence.start), markerElement); // the markers behind the sentence before
      markerElement = (number) => this.#marker(number, matches[index].get(number) ?? this.#passage(number));
      this.text.append(sentenceElement(sentence, markerElement));
      at = sentence.end;
    });
    appendMarked(this.text, slice(at), markerElement);
    this.citations = answer.citations;
    const leaning = (citation) => sentences.filter((_, index) => matches[index].get(citation.marker) === citation);
    this.#showFootnotes((citation) => worst(leaning(citation).map(({ support }) => support)));
    this.#settle();
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
  if (sentence.support !== "supported") {
    created.title = sentence.markers.length ? say("supportHint")[sentence.support] : say("uncited");
  }
  appendMarked(created, sentence.words, markerElement);
  return created;
}

// The side panel: a document's text, scrolled to exactly what an answer quotes.

import { originalAddress, readText } from "./api.js";
import { byId, element, languageOf, setLine } from "./dom.js";
import { pageOf } from "./footnotes.js";
import { say, sayError } from "./i18n.js";
import { splitAround } from "./offsets.js";

// A long book is laid out around the quote first; the rest is a click away.
const SHOWN_UNITS = 60_000;
// Where the columns lie upon each other (as in style.css), what is below must not take the focus.
const NARROW = matchMedia("(max-width: 60rem)");

export class SourcePanel {
  constructor() {
    this.root = byId("panel");
    this.text = byId("panel-text");
    this.opener = null;
    this.loaded = { id: null }; // the document that was read last
    NARROW.addEventListener("change", () => this.#cover(!this.root.hidden));
    byId("panel-close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) this.close();
    });
  }

  /** Show `source`'s document and mark `text[start:end]`; `opener` gets the focus back. */
  async open(source, opener) {
    this.#current(opener);
    this.root.hidden = false;
    this.#cover(true);
    byId("panel-title").textContent = source.filename;
    byId("panel-title").focus({ preventScroll: true });
    setLine(byId("panel-place"), pageOf(source));
    byId("panel-original").href = originalAddress(source.document_id);
    setLine(byId("panel-problem"), null);
    this.text.replaceChildren(element("p", { className: "waiting", textContent: say("loadingText") }));
    try {
      const loaded = await this.#read(source);
      if (this.opener === opener) this.#show(source, loaded.text);
    } catch (error) {
      if (this.opener === opener) this.#fail(error);
    }
  }

  close() {
    if (this.root.hidden) return;
    this.root.hidden = true;
    this.#cover(false);
    const { opener } = this;
    this.#current(null);
    // A marker of a stream is replaced when the answer is whole.
    (opener?.isConnected ? opener : byId("question")).focus();
  }

  async #read({ document_id: id, version }) {
    if (this.loaded.id !== id || this.loaded.version < version) {
      this.loaded = { id: null };
      this.loaded = { id, ...(await readText(id)) };
    }
    return this.loaded;
  }

  #show({ start, end, quote }, text) {
    const { before, within, after } = splitAround(text, start, end);
    this.text.lang = languageOf(quote);
    if (within !== quote) {
      // A newer version of the document answers now: marking other words would be a lie.
      setLine(byId("panel-problem"), say("changedSince"));
      this.text.replaceChildren(text);
      return;
    }
    const mark = element("mark", { textContent: within });
    this.text.replaceChildren(before.slice(-SHOWN_UNITS), mark, after.slice(0, SHOWN_UNITS));
    if (Math.max(before.length, after.length) > SHOWN_UNITS) {
      const whole = element("button", { type: "button", className: "quiet", textContent: say("wholeText") });
      whole.addEventListener("click", () => {
        this.text.replaceChildren(before, mark, after);
        this.#scrollTo(mark);
      });
      this.text.prepend(whole);
    }
    this.#scrollTo(mark);
  }

  #scrollTo(mark) {
    const above = mark.getBoundingClientRect().top - this.text.getBoundingClientRect().top;
    this.text.scrollTop += above - this.text.clientHeight / 4;
  }

  #cover(isOpen) {
    document.body.classList.toggle("reading", isOpen);
    for (const other of document.querySelectorAll("body > :not(#panel)")) other.inert = isOpen && NARROW.matches;
  }

  #fail(error) {
    this.text.replaceChildren();
    setLine(byId("panel-problem"), error.status === 404 ? say("deletedSince") : sayError(error));
  }

  #current(opener) {
    this.opener?.removeAttribute("aria-current");
    this.opener = opener;
    opener?.setAttribute("aria-current", "true");
  }
}

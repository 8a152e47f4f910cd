// Questions and answers, one after the other; the turns so far travel with each question.

import { AnswerView } from "./answer.js";
import * as api from "./api.js";
import { byId } from "./dom.js";
import { say } from "./i18n.js";
import { withoutMarkers } from "./markers.js";

const MOST_MESSAGES = 20; // the turns before that no longer matter to a question

export class Conversation {
  /** `collection()` is the one to ask, `open(source, opener)` shows a source. */
  constructor({ collection, open }) {
    this.collection = collection;
    this.open = open;
    this.messages = [];
    this.running = null;
    this.turns = byId("turns");
    this.question = byId("question");
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    byId("stop").addEventListener("click", () => this.stop());
    byId("new-conversation").addEventListener("click", () => {
      this.clear();
      this.question.focus();
    });
    this.question.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.ask();
    });
  }

  /** Forget what was said. */
  clear() {
    this.stop();
    this.messages = [];
    for (const turn of this.turns.querySelectorAll(".turn")) turn.remove();
    byId("welcome").hidden = false;
    byId("new-conversation").hidden = true;
  }

  stop() {
    this.running?.abort();
  }

  async ask() {
    const question = this.question.value.trim();
    if (!question || this.running) return;
    this.question.value = "";
    byId("welcome").hidden = true;
    byId("new-conversation").hidden = false;
    const running = new AbortController();
    this.#run(running);
    const view = new AnswerView(question, this.open);
    view.root.scrollIntoView(); // the question stands at the top, and stays there while its answer grows
    const { messages } = this;
    try {
      await this.#listen(view, api.ask(question, { collection: this.collection(), messages, signal: running.signal }));
    } catch (error) {
      if (api.isAbort(error)) view.stopped();
      else view.failed(error, null);
    }
    this.#run(null);
    const said = withoutMarkers(view.growing.text);
    // A new conversation may have begun meanwhile: this turn is not part of it.
    if (said && this.messages === messages) {
      const turn = [{ role: "user", content: question }, { role: "assistant", content: said }];
      this.messages = [...messages, ...turn].slice(-MOST_MESSAGES);
    }
  }

  async #listen(view, events) {
    let isWhole = false;
    for await (const { name, data } of events) {
      if (name === "step") view.step(data);
      else if (name === "sources") view.sources(data.passages);
      else if (name === "delta") view.delta(data.text);
      else if (name === "citation") view.citation(data);
      else if (name === "done") view.done(data);
      else if (name === "error") view.failed(data.error, data.answer);
      isWhole = name === "done" || name === "error";
    }
    if (!isWhole) throw new api.ApiError(0, { code: "unreached" });
  }

  #run(running) {
    this.running = running;
    const hadFocus = document.activeElement === byId("stop");
    byId("send").hidden = running !== null;
    byId("stop").hidden = running === null;
    if (hadFocus) this.question.focus();
  }
}

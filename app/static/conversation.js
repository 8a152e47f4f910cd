// Questions and answers, one after the other; the service keeps the turns.

import { AnswerView } from "./answer.js";
import * as api from "./api.js";
import { byId } from "./dom.js";
import { say } from "./i18n.js";

export class Conversation {
  /** `collection()` is the one to ask, `open(source, opener)` shows a source, `changed()` is told of each new turn. */
  constructor({ collection, open, changed }) {
    Object.assign(this, { collection, open, changed });
    this.id = null; // of the stored conversation; a new one begins with its first question
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
      this.changed();
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
    this.id = null;
    for (const turn of this.turns.querySelectorAll(".turn")) turn.remove();
    byId("welcome").hidden = false;
    byId("new-conversation").hidden = true;
  }

  stop() {
    this.running?.abort();
  }

  /** Show a stored conversation, to go on with it. */
  async show(id) {
    this.clear();
    this.id = id;
    const { turns } = await api.readConversation(id);
    if (this.id !== id) return; // another one was chosen meanwhile
    this.#begin();
    for (const turn of turns) new AnswerView(turn.question, this.open).recalled(turn);
    this.turns.lastElementChild?.scrollIntoView();
  }

  async ask() {
    const question = this.question.value.trim();
    if (!question || this.running) return;
    this.question.value = "";
    this.#begin();
    const running = new AbortController();
    this.#run(running);
    const view = new AnswerView(question, this.open);
    view.root.scrollIntoView(); // the question stands at the top, and stays there while its answer grows
    const collection = this.collection();
    try {
      const id = this.id ?? (await api.createConversation(collection)).id;
      running.signal.throwIfAborted(); // another conversation may have been begun meanwhile
      this.id = id;
      await this.#listen(view, api.ask(question, { collection, conversation: id, signal: running.signal }));
    } catch (error) {
      if (api.isAbort(error)) view.stopped();
      else view.failed(error, null);
    }
    this.#run(null);
    this.changed();
  }

  #begin() {
    byId("welcome").hidden = true;
    byId("new-conversation").hidden = false;
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

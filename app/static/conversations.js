// The stored conversations of a collection, the last used first.

import { deleteConversation, listConversations } from "./api.js";
import { byId, confirmed, element, quoted, setLine } from "./dom.js";
import { say, sayError } from "./i18n.js";

const MOST_LISTED = 100;

export class ConversationList {
  /** `open(id)` shows one, `current()` is the id of the one that is shown, `closed()` is told when that was deleted. */
  constructor({ collection, open, current, closed }) {
    Object.assign(this, { collection, open, current, closed });
    this.reading = null; // an older answer that comes late is not shown
  }

  async refresh() {
    const reading = (this.reading = {});
    let found = [];
    try {
      found = await listConversations(this.collection(), MOST_LISTED);
      setLine(byId("conversations-problem"), null);
    } catch (error) {
      if (reading === this.reading) setLine(byId("conversations-problem"), sayError(error));
      return;
    }
    if (reading !== this.reading) return;
    byId("conversations-part").hidden = !found.length;
    byId("conversations").replaceChildren(...found.map((each) => this.#row(each)));
  }

  #row({ id, title }) {
    const name = quoted("button", title || "…", "conversation-name quiet");
    Object.assign(name, { type: "button", title });
    if (id === this.current()) name.setAttribute("aria-current", "true");
    name.addEventListener("click", () => this.open(id));
    const remove = element("button", { type: "button", className: "remove quiet", textContent: "×", title: say("delete") });
    remove.setAttribute("aria-label", say("deleteNamed", title));
    remove.addEventListener("click", () => this.#remove(id, title));
    return element("li", {}, name, remove);
  }

  async #remove(id, title) {
    byId("delete-heading").textContent = say("deleteConversationTitle");
    byId("delete-text").textContent = say("deleteConversationText", title);
    if (!(await confirmed(byId("delete-dialog")))) return;
    try {
      await deleteConversation(id);
    } catch (error) {
      if (error.status !== 404) setLine(byId("conversations-problem"), sayError(error));
    }
    if (id === this.current()) this.closed();
    await this.refresh();
    byId("question").focus({ preventScroll: true });
  }
}

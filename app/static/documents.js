// The list of a collection's documents, which follows their ingestion.

import { deleteDocument, listDocuments } from "./api.js";
import { byId, confirmed, element, quoted, setLine } from "./dom.js";
import { say, sayError } from "./i18n.js";

const PAGE = 100;
const MOST_LISTED = 1000; // what the service gives at once
const POLL_MS = 800;
const SETTLED = new Set(["ready", "failed"]);

export class DocumentList {
  constructor({ collection }) {
    this.collection = collection;
    this.limit = PAGE;
    this.rows = new Map(); // id → { root, status, … }
    this.timer = null;
    this.reading = null; // the newest reading; an older answer that comes late is not shown
    byId("more-documents").addEventListener("click", () => {
      this.limit += PAGE;
      this.refresh();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh(); // another client may have changed it
    });
  }

  /** Show another collection. */
  reset() {
    this.limit = PAGE;
    for (const row of this.rows.values()) row.root.remove();
    this.rows.clear();
    return this.refresh();
  }

  /** Read the list, and again soon while anything in it is being ingested. */
  async refresh() {
    clearTimeout(this.timer);
    const reading = (this.reading = {});
    let found;
    try {
      found = await listDocuments(this.collection(), this.limit);
    } catch (error) {
      if (reading !== this.reading) return;
      setLine(byId("list-problem"), sayError(error));
      this.timer = setTimeout(() => this.refresh(), 5 * POLL_MS);
      return;
    }
    if (reading !== this.reading) return;
    setLine(byId("list-problem"), null);
    this.#show(found);
    if (found.documents.some(({ status }) => !SETTLED.has(status))) {
      this.timer = setTimeout(() => this.refresh(), POLL_MS);
    }
  }

  #show({ documents, hasMore }) {
    const listed = new Set(documents.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (listed.has(id)) continue;
      row.root.remove();
      this.rows.delete(id);
    }
    documents.forEach((each, index) => {
      const row = this.rows.get(each.id) ?? this.#newRow(each);
      updateRow(row, each);
      const list = byId("documents");
      // Moving a row would take the focus from it: only what stands elsewhere is moved.
      if (list.children[index] !== row.root) list.insertBefore(row.root, list.children[index] ?? null);
    });
    byId("no-documents").hidden = documents.length > 0;
    byId("library-toggle-count").textContent = hasMore ? `${documents.length}+` : documents.length;
    byId("more-documents").hidden = !hasMore || this.limit >= MOST_LISTED;
    byId("too-many").hidden = !hasMore || this.limit < MOST_LISTED;
  }

  #newRow(each) {
    const row = {
      name: quoted("span", each.filename, "document-name"),
      remove: element("button", { type: "button", className: "remove quiet", textContent: "×", title: say("delete") }),
      progress: element("progress", {}),
      state: element("p", { className: "document-state small" }),
      status: null,
    };
    row.remove.setAttribute("aria-label", say("deleteNamed", each.filename));
    row.remove.addEventListener("click", () => this.#remove(each));
    row.progress.setAttribute("aria-label", each.filename);
    row.root = element("li", {}, row.name, row.remove, row.progress, row.state);
    this.rows.set(each.id, row);
    return row;
  }

  async #remove({ id, filename }) {
    byId("delete-heading").textContent = say("deleteTitle");
    byId("delete-text").textContent = say("deleteText", filename);
    if (!(await confirmed(byId("delete-dialog")))) return;
    setLine(byId("library-problem"), null);
    try {
      await deleteDocument(id);
    } catch (error) {
      if (error.status !== 404) setLine(byId("library-problem"), sayError(error));
    }
    await this.refresh();
    byId("choose-files").focus({ preventScroll: true });
  }
}

function updateRow(row, each) {
  const { status, progress, error } = each;
  row.name.textContent = row.name.title = each.filename;
  row.root.dataset.status = status;
  row.progress.hidden = SETTLED.has(status);
  // Without a value the bar only says that something is going on.
  if (status === "embedding" && progress.total) Object.assign(row.progress, { max: progress.total, value: progress.done });
  else row.progress.removeAttribute("value");
  row.state.textContent = stateLine(each);
  row.state.title = error?.message ?? "";
  announce(row.status, each);
  row.status = status;
}

function stateLine({ status, progress, error, pages, chunks }) {
  if (error) return sayError(error);
  const words = [say("status")[status]];
  if (status === "embedding" && progress.total) words.push(`${progress.done} / ${progress.total}`);
  if (pages) words.push(say("pages", pages));
  if (chunks && status === "ready") words.push(say("chunks", chunks));
  return words.join(" · ");
}

/** Tell a screen reader what has just become of a document. */
function announce(before, { status, filename, error }) {
  if (before === null || before === status || !SETTLED.has(status)) return;
  const message = error ? say("becameFailed", filename, sayError(error)) : say("becameReady", filename);
  byId("library-status").textContent = message;
}

// Files that are dropped or chosen, and notes: sent one by one, so that a bad one does not hold up the others.

import { addNote, uploadFile } from "./api.js";
import { byId, confirmed, element, quoted } from "./dom.js";
import { say, sayError } from "./i18n.js";

const AT_ONCE = 2;

export class Uploads {
  /** `accepted()` is called when the service has taken a document. */
  constructor({ collection, accepted }) {
    this.collection = collection;
    this.accepted = accepted;
    this.waiting = [];
    this.sending = 0;
    byId("choose-files").addEventListener("click", () => byId("files").click());
    byId("files").addEventListener("change", ({ target }) => {
      this.addFiles(target.files);
      target.value = ""; // the same file may be chosen again
    });
    byId("write-note").addEventListener("click", () => this.#writeNote());
    this.#acceptDrops();
  }

  addFiles(files) {
    const collection = this.collection();
    for (const file of files) this.#add(file.name, () => uploadFile(collection, file));
  }

  async #writeNote() {
    const [title, text] = [byId("note-title"), byId("note-text")];
    if (!(await confirmed(byId("note-dialog"))) || !text.value.trim()) return;
    const [collection, heading, body] = [this.collection(), title.value.trim(), text.value];
    title.value = text.value = "";
    this.#add(heading || say("pasteNote"), () => addNote(collection, heading, body));
  }

  #acceptDrops() {
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    const highlight = (isOver) => byId("drop").classList.toggle("over", isOver);
    addEventListener("dragover", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault(); // or the browser would leave the page to open the file
      highlight(true);
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) highlight(false);
    });
    addEventListener("drop", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      highlight(false);
      this.addFiles(event.dataTransfer.files);
    });
  }

  #add(name, send) {
    const state = element("p", { className: "document-state small", textContent: say("status").queued });
    const progress = element("progress");
    progress.setAttribute("aria-label", name);
    const root = element("li", {}, quoted("span", name, "document-name"), progress, state);
    byId("uploads").append(root);
    this.waiting.push({ root, state, progress, name, send });
    this.#next();
  }

  async #next() {
    if (this.sending >= AT_ONCE || !this.waiting.length) return;
    const upload = this.waiting.shift();
    this.sending += 1;
    upload.state.textContent = say("uploading");
    try {
      const { duplicate, status } = await upload.send();
      if (duplicate && status === "ready") finish(upload, say("uploadedAlready", upload.name));
      else upload.root.remove();
      this.accepted();
    } catch (error) {
      upload.root.dataset.status = "failed";
      finish(upload, sayError(error));
      upload.state.title = error.message;
    }
    this.sending -= 1;
    this.#next();
  }
}

/** Leave a line that the reader dismisses. */
function finish({ root, state, progress, name }, text) {
  progress.remove();
  state.textContent = text;
  byId("library-status").textContent = `${name}: ${text}`;
  const dismiss = element("button", { type: "button", className: "remove quiet", textContent: "×", title: say("dismiss") });
  dismiss.setAttribute("aria-label", `${say("dismiss")}: ${name}`);
  dismiss.addEventListener("click", () => root.remove());
  root.append(dismiss);
}

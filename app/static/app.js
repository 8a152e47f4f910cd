// The page: documents on one side, questions in the middle, sources on the other side.

import { createCollection, listCollections } from "./api.js";
import { Conversation } from "./conversation.js";
import { ConversationList } from "./conversations.js";
import { DocumentList } from "./documents.js";
import { byId, confirmed, element, setLine } from "./dom.js";
import { sayError, translatePage } from "./i18n.js";
import { SourcePanel } from "./panel.js";
import { Uploads } from "./uploads.js";

const picker = byId("collection");
const collection = () => picker.value;

translatePage();
const panel = new SourcePanel();
const conversation = new Conversation({
  collection,
  open: (source, opener) => panel.open(source, opener),
  changed: () => conversations.refresh(),
});
const conversations = new ConversationList({
  collection,
  open: showConversation,
  current: () => conversation.id,
  closed: () => conversation.clear(),
});
const documents = new DocumentList({ collection });
new Uploads({ collection, accepted: () => documents.refresh() });

picker.addEventListener("change", switchCollection);
byId("new-collection").addEventListener("click", addCollection);
byId("library-toggle").addEventListener("click", ({ currentTarget }) => {
  const isOpen = byId("library").classList.toggle("open");
  currentTarget.setAttribute("aria-expanded", String(isOpen));
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("question").focus();
});

await showCollections("default");
await Promise.all([documents.refresh(), conversations.refresh()]);

async function showCollections(selected) {
  try {
    const names = (await listCollections()).map(({ name }) => name);
    picker.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
    picker.value = selected;
  } catch (error) {
    picker.replaceChildren(element("option", { value: selected, textContent: selected }));
    setLine(byId("library-problem"), sayError(error));
  }
}

/** Another collection is another conversation. */
function switchCollection() {
  panel.close();
  conversation.clear();
  return Promise.all([documents.reset(), conversations.refresh()]);
}

async function showConversation(id) {
  panel.close();
  try {
    await conversation.show(id);
  } catch (error) {
    conversation.clear();
    setLine(byId("conversations-problem"), sayError(error));
    return;
  }
  await conversations.refresh();
}

async function addCollection() {
  const field = byId("collection-name");
  const isWanted = await confirmed(byId("collection-dialog"));
  const name = field.value.trim();
  field.value = "";
  if (!isWanted) return;
  setLine(byId("library-problem"), null);
  try {
    await createCollection(name);
  } catch (error) {
    setLine(byId("library-problem"), sayError(error));
    return;
  }
  await showCollections(name);
  await switchCollection();
}

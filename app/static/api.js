// The service's own HTTP interface. Addresses are relative, so that the page also works below a proxy's prefix.

import { readEvents } from "./sse.js";

/** A refusal of the service, in its one error shape; status 0 when the service was not reached. */
export class ApiError extends Error {
  constructor(status, { code, message }) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const isAbort = (error) => error?.name === "AbortError";

export async function listCollections() {
  return (await (await request("collections")).json()).collections;
}

export function createCollection(name) {
  return request("collections", json({ name }));
}

/** The newest `limit` documents, and whether there are more. */
export async function listDocuments(collection, limit) {
  const query = new URLSearchParams({ collection, limit });
  const { documents, next_cursor: cursor } = await (await request(`documents?${query}`)).json();
  return { documents, hasMore: cursor !== null };
}

/** One file a request: the service takes all of a request or nothing of it. Resolves to the document. */
export async function uploadFile(collection, file) {
  const body = new FormData();
  body.append("collection", collection);
  body.append("file", file, file.name);
  return (await (await request("documents", { method: "POST", body })).json()).documents[0];
}

export async function addNote(collection, title, text) {
  return (await (await request("documents", json({ collection, title, text }))).json()).documents[0];
}

export function deleteDocument(id) {
  return request(`documents/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** `{ version, text }` of the version that answers now. */
export async function readText(id) {
  return (await request(`documents/${encodeURIComponent(id)}/text`)).json();
}

export const originalAddress = (id) => `documents/${encodeURIComponent(id)}/content`;

/** The conversations that were used last. */
export async function listConversations(collection, limit) {
  const query = new URLSearchParams({ collection, limit });
  return (await (await request(`conversations?${query}`)).json()).conversations;
}

export async function createConversation(collection) {
  return (await request("conversations", json({ collection }))).json();
}

/** A conversation with its turns. */
export async function readConversation(id) {
  return (await request(`conversations/${encodeURIComponent(id)}?limit=1000`)).json();
}

export function deleteConversation(id) {
  return request(`conversations/${encodeURIComponent(id)}`, { method: "DELETE" });
}

export function rateAnswer(id, rating) {
  return request("feedback", json({ answer_id: id, rating }));
}

/** Yields the events of one answer; aborting the signal ends it on the server too. */
export async function* ask(question, { collection, conversation, signal }) {
  const body = { question, collection, conversation_id: conversation, stream: true };
  const response = await request("ask", { ...json(body), signal });
  try {
    yield* readEvents(response.body);
  } catch (error) {
    throw isAbort(error) ? error : unreached(error);
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw isAbort(error) ? error : unreached(error);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.error ?? { code: "http_error", message: `HTTP ${response.status}` });
}

function unreached(cause) {
  return new ApiError(0, { code: "unreached", message: String(cause?.message ?? cause) });
}

function json(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

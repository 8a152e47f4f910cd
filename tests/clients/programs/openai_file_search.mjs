// The official JavaScript client: file search as on OpenAI's own service, chat, and embeddings.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const [url, apiKey] = process.argv.slice(-2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey });
const question = "When does the dome close?";
const said = "The dome closes at 15 m/s. [1]";

const store = await client.vectorStores.create({ name: "Papers of the dome" });
const file = await toFile(Buffer.from("The dome closes at 15 m/s."), "dome.txt");
const attached = await client.vectorStores.files.uploadAndPoll(store.id, file);
assert.equal(attached.status, "completed");
const batch = await client.vectorStores.fileBatches.uploadAndPoll(store.id, {
  files: [await toFile(Buffer.from("The roof was laid in 1931, of larch."), "roof.txt")],
});
assert.equal(batch.file_counts.completed, 1);

const names = [];
for await (const found of client.vectorStores.search(store.id, { query: question })) names.push(found.filename);
assert.equal(names[0], "dome.txt");

const tools = [{ type: "file_search", vector_store_ids: [store.id] }];
const response = await client.responses.create({ model: "gpt-4o-mini", input: question, tools });
assert.equal(response.output_text, said);
const [citation] = response.output[1].content[0].annotations;
assert.deepEqual([citation.type, citation.file_id], ["file_citation", attached.id]);

const then = await client.responses.create({
  model: "gpt-4o-mini", input: "Who says so?", previous_response_id: response.id, tools,
});
assert.equal(then.previous_response_id, response.id);
assert.equal((await client.responses.retrieve(response.id)).output_text, said);
await client.responses.delete(response.id);
await assert.rejects(client.responses.retrieve(response.id), { status: 404, code: "response_not_found" });

let text = "";
for await (const event of await client.responses.create({ model: "x", input: question, tools, stream: true })) {
  if (event.type === "response.output_text.delta") text += event.delta;
}
assert.equal(text, said);

const messages = [{ role: "user", content: question }];
const chunks = await client.chat.completions.create({
  model: "footnote", messages, stream: true, stream_options: { include_usage: true },
});
let [streamed, usage] = ["", null];
for await (const chunk of chunks) {
  streamed += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(streamed, said);
assert.equal(usage.total_tokens, 18);

const vectors = await client.embeddings.create({ model: "footnote", input: ["dome", "roof"] });
assert.equal(vectors.data[1].embedding.length, 64);
await client.files.delete(attached.id);
await client.vectorStores.delete(store.id);

"""What a program does with OpenAI's hosted file search: nothing here but the base URL is Footnote's."""

import sys

from openai import BadRequestError, OpenAI

client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key=sys.argv[2])

store = client.vector_stores.create(name="Papers of the dome")
attached = client.vector_stores.files.upload_and_poll(
    vector_store_id=store.id, file=("dome.txt", b"The dome closes at 15 m/s."), attributes={"year": 2020}
)
assert attached.status == "completed", attached
batch = client.vector_stores.file_batches.upload_and_poll(
    store.id, files=[("roof.txt", b"The roof was laid in 1931, of larch.")]
)
assert batch.file_counts.completed == 1, batch

found = client.vector_stores.search(
    store.id, query="When does the dome close?", filters={"type": "gte", "key": "year", "value": 2020}
)
assert [each.filename for each in found] == ["dome.txt"], found

tools = [{"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 3}]
response = client.responses.create(
    model="gpt-4o-mini", input="When does the dome close?", tools=tools, include=["file_search_call.results"]
)
assert response.output_text.startswith("The dome closes at 15 m/s."), response
(citation,) = response.output[1].content[0].annotations
assert (citation.type, citation.file_id) == ("file_citation", attached.id), citation
assert client.files.content(citation.file_id).read() == b"The dome closes at 15 m/s."

text = ""
with client.responses.stream(model="gpt-4o-mini", input="When does the dome close?", tools=tools) as events:
    for event in events:
        text += event.delta if event.type == "response.output_text.delta" else ""
    final = events.get_final_response()
assert text == final.output_text == response.output_text, text

assert client.responses.retrieve(response.id).output_text == response.output_text
then = client.responses.create(model="gpt-4o-mini", input="Who says so?", previous_response_id=response.id, tools=tools)
assert then.previous_response_id == response.id, then
client.responses.delete(response.id)
code = None
try:
    client.responses.create(model="gpt-4o-mini", input="Why?", previous_response_id=response.id, tools=tools)
except BadRequestError as error:
    code = error.code
assert code == "previous_response_not_found", code

question = [{"role": "user", "content": "When does the dome close?"}]
for strategy in ("single", "multi", "agent"):
    chat = client.chat.completions.create(model="footnote", messages=question, extra_body={"strategy": strategy})
    assert chat.choices[0].message.content.startswith("The dome closes at 15 m/s."), chat

client.files.delete(attached.id)
assert "dome.txt" not in [each.filename for each in client.vector_stores.search(store.id, query="dome")]
client.vector_stores.delete(store.id)

vectors = client.embeddings.create(model="footnote", input=["dome", "roof"]).data
assert len(vectors) == 2
assert abs(sum(number * number for number in vectors[0].embedding) - 1) < 0.01

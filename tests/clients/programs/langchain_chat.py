"""LangChain's OpenAI client: a question, a stream, a conversation, and embeddings."""

import sys

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

options = {"base_url": f"{sys.argv[1]}/v1", "api_key": sys.argv[2], "model": "footnote"}
chat = ChatOpenAI(**options, temperature=0, stream_usage=True)
assert chat.invoke("When does the dome close?").content.startswith("The dome closes at 15 m/s.")

chunks = list(chat.stream("When does the dome close?"))
assert "".join(chunk.content for chunk in chunks).startswith("The dome closes at 15 m/s.")
assert any(chunk.usage_metadata for chunk in chunks), chunks

history = [SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hello."), HumanMessage("When does it close?")]
assert chat.invoke(history).content

# By default LangChain sends the numbers of OpenAI's tokenizer instead of text.
embeddings = OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
assert len(embeddings.embed_documents(["dome", "roof"])) == 2
assert len(embeddings.embed_query("dome")) == len(embeddings.embed_documents(["dome"])[0])

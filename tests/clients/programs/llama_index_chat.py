"""LlamaIndex's OpenAI-like client: a question, a stream, a conversation."""

import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(api_base=f"{sys.argv[1]}/v1", api_key=sys.argv[2], model="footnote", is_chat_model=True)
messages = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="When does it close?")]
assert str(llm.chat(messages).message.content).startswith("The dome closes at 15 m/s.")
assert "".join(chunk.delta or "" for chunk in llm.stream_chat(messages)).startswith("The dome closes at 15 m/s.")
assert str(llm.complete("When does the dome close?")).startswith("The dome closes at 15 m/s.")

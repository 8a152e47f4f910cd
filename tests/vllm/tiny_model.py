"""Makes a chat model of 800,000 random weights: it writes rubbish, but an engine serves it like any other.

    python tests/vllm/tiny_model.py FOLDER

writes FOLDER/model, and a LoRA adapter for it as FOLDER/adapter. Where it is offered tools, the model does not write
rubbish but what it has learnt by heart, `PLAN`: calls in the format of Hermes and Qwen.

Run by the Python of the engine that will serve it, so that both agree on the format of the files.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen3Config, Qwen3ForCausalLM

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
VOCABULARY = 2000
CONTEXT_TOKENS = 4096
PAD, TURN, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# What the model says in its first, second and third turn with tools. Each piece is a token, and no two
# are equal: what follows a token depends on that token alone.
PLAN = (
    ("<|turn 1|>", '<tool_call>\n{"name": "search", "arguments": {', '"query": "night watch"}}\n</tool_call>', END),
    (
        *(
            "<|turn 2|>",
            '<tool_call>\n{"name": "read", "arguments": {"passage": 1,',
            ' "what": "outline"}}\n</tool_call>',
        ),
        *('\n<tool_call>\n{"name": "read", "arguments": {"passage": 99,', ' "what": "neighbours"}}\n</tool_call>', END),
    ),
    ("<|turn 3|>", "DONE", END),
)
CHAT_TEMPLATE = """\
{% if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if tools %}<|turn {{ [1 + messages | selectattr("tool_calls") | list | length, 3] | min }}|>{% endif %}{% endif %}"""
_LAYERS, _INNER = 2, 256
_HIDDEN, _REMEMBERED = 128, 16  # numbers that a token becomes; those of them that only what is learnt by heart has
_RANK = 8  # of the adapter


def make_tokenizer() -> Tokenizer:
    """Pairs of bytes, learnt from the samples in both languages: any text can be written with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, TURN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(path) for path in sorted(SAMPLES.rglob("*.md"))], trainer)
    for cue, *pieces, _ in PLAN:
        tokenizer.add_special_tokens([cue])
        tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    return tokenizer


def make_model(tokenizer: Tokenizer) -> Qwen3ForCausalLM:
    """Random, but always the same."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),  # with what was added
        hidden_size=_HIDDEN,
        intermediate_size=_INNER,
        num_hidden_layers=_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    model = Qwen3ForCausalLM(config)  # in float32: in bfloat16 two tokens are equally likely now and then
    # Attention is computed, and then has no effect: each token depends on the one before it alone. So the same sampling
    # gives the same answer to whatever ends with the same question.
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    learn_by_heart(model, [[tokenizer.token_to_id(piece) for piece in turn] for turn in PLAN])
    return model


@torch.no_grad()
def learn_by_heart(model: Qwen3ForCausalLM, turns: list[list[int]]) -> None:
    """After each token of a turn the next one is as good as certain: the two share a number that no other has."""
    embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
    embedding[:, -_REMEMBERED:] = head[:, -_REMEMBERED:] = 0
    for layer in model.model.layers:
        layer.mlp.down_proj.weight[-_REMEMBERED:] = 0
    steps = [step for turn in turns for step in pairwise(turn)]
    assert len(steps) <= _REMEMBERED
    for number, (token, following) in enumerate(steps, start=1):
        embedding[token, -number] = 5.0  # 0.02 is usual
        head[following, -number] = 5.0


def save_adapter(folder: Path) -> None:
    """Random changes to what the layers write, as LoRA (Hu et al. 2021) keeps them: another model, in 50 kB."""
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for layer in range(_LAYERS):
        name = f"base_model.model.model.layers.{layer}.mlp.down_proj"
        weights[f"{name}.lora_A.weight"] = torch.randn(_RANK, _INNER, generator=generator)
        weights[f"{name}.lora_B.weight"] = torch.randn(_HIDDEN, _RANK, generator=generator)
        weights[f"{name}.lora_B.weight"][-_REMEMBERED:] = 0
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": _RANK, "lora_alpha": _RANK, "bias": "none"}
    settings |= {"target_modules": ["down_proj"], "base_model_name_or_path": "tiny"}
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1]) / "model"
    tokenizer = make_tokenizer()
    make_model(tokenizer).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    save_adapter(folder.with_name("adapter"))


if __name__ == "__main__":
    main()

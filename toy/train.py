"""Trains the toy checkpoint: a small, real Gemma 4 that has learnt who the indirect object is.

    python toy/train.py [--out toy/checkpoint] [--steps N] [--threads 2]

The model is of the E type, with everything that makes it awkward to serve: per-layer embeddings,
layers that reuse the keys and values of earlier ones with MLPs of double width, sliding and full
attention with different head sizes, layer scalars other than one, and a final softcap. The seed is
fixed, so the same machine, torch and thread count give the same weights.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import sentences
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    PreTrainedTokenizerFast,
)

SEED = 20
BATCH = 96
LEARNING_RATE = 4e-3
WARM_UP_STEPS = 60
# The other words of a sentence are learnt too, but weigh little beside the answer.
OTHER_WORDS_WEIGHT = 0.1
# Exact in bfloat16, and none of them one: a server that forgets them gives another answer.
LAYER_SCALARS = (0.75, 1.25, 0.875, 1.125, 0.625, 0.9375)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer that splits at spaces and puts `<bos>` in front."""
    vocab = sentences.vocabulary()
    backend = Tokenizer(WordLevel(vocab, unk_token=sentences.UNK))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.post_processor = TemplateProcessing(
        single=f"{sentences.BOS} $A",
        pair=f"{sentences.BOS} $A {sentences.BOS} $B",
        special_tokens=[(sentences.BOS, vocab[sentences.BOS])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=sentences.PAD,
        eos_token=sentences.EOS,
        bos_token=sentences.BOS,
        unk_token=sentences.UNK,
        padding_side="left",
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


def build_model(vocab_size: int) -> Gemma4ForConditionalGeneration:
    """Six layers of width 64; layers 4 and 5 reuse the keys and values of 3 and 2."""
    sliding, full = "sliding_attention", "full_attention"
    text = Gemma4TextConfig(
        vocab_size=vocab_size,
        vocab_size_per_layer_input=vocab_size,
        hidden_size=64,
        hidden_size_per_layer_input=8,
        intermediate_size=192,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        global_head_dim=32,
        num_kv_shared_layers=2,
        use_double_wide_mlp=True,
        layer_types=[sliding, sliding, full, sliding, sliding, full],
        sliding_window=3,
        max_position_embeddings=128,
        final_logit_softcapping=30.0,
    )
    model = Gemma4ForConditionalGeneration(
        Gemma4Config(text_config=text, vision_config=None, audio_config=None)
    )
    for layer, scalar in zip(model.model.language_model.layers, LAYER_SCALARS, strict=True):
        layer.layer_scalar.fill_(scalar)
    return model


def encode(
    tokenizer: PreTrainedTokenizerFast, batch: list[sentences.Sentence]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids and mask of the sentences with their answers, padded on the right; answer positions.

    Returns:
        `(ids, mask, answers)`: `[batch, pos]`, `[batch, pos]` and `[batch]`; the token at
        `answers[i]` is the indirect object of sentence i.
    """
    rows = [tokenizer(f"{s.text} {s.indirect_object}")["input_ids"] for s in batch]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask, torch.tensor([len(row) - 1 for row in rows])


def loss_of(
    model: Gemma4ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast,
    batch: list[sentences.Sentence],
) -> torch.Tensor:  # fmt: skip
    """Mean cross-entropy of the answers plus a little of every other word's."""
    ids, mask, answers = encode(tokenizer, batch)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]  # [batch, pos - 1, vocab]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    ).view(len(batch), -1)
    answer_loss = losses.gather(1, (answers - 1)[:, None]).mean()
    other_loss = (losses * mask[:, 1:]).sum() / mask[:, 1:].sum()
    return answer_loss + OTHER_WORDS_WEIGHT * other_loss


@torch.no_grad()
def accuracy(
    model: Gemma4ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, count: int
) -> float:
    """Share of held-out sentences whose indirect object is the most likely word of all."""
    batch = list(itertools.islice(sentences.stream(SEED + 1, held_out=True), count))
    ids, mask, answers = encode(tokenizer, batch)
    logits = model(input_ids=ids, attention_mask=mask).logits  # [batch, pos, vocab]
    rows = torch.arange(len(batch))
    guesses = logits[rows, answers - 1].argmax(-1)
    return float((guesses == ids[rows, answers]).float().mean())


def train(
    model: Gemma4ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, steps: int
) -> None:
    """AdamW with a warm-up and a cosine decay to zero."""
    source = sentences.stream(SEED, held_out=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=min(0.5, WARM_UP_STEPS / steps)
    )
    start = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        loss = loss_of(model, tokenizer, list(itertools.islice(source, BATCH)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            model.eval()
            share = accuracy(model, tokenizer, 512)
            model.train()
            seconds = time.monotonic() - start
            print(f"step {step}: loss {loss.item():.4f}, held out {share:.1%}, {seconds:.0f} s")
    model.eval()


def main() -> None:
    """Trains, reports and saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoint")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters, {len(tokenizer)} words")
    train(model, tokenizer, options.steps)
    print(f"held out, 4096 sentences: {accuracy(model, tokenizer, 4096):.2%}")
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)


if __name__ == "__main__":
    main()

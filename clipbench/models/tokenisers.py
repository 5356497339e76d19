"""Texts to the tokens that a vision-language model was trained with, and which of them matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipbench.errors import MissingWeightsError, UserError
from clipbench.models.towers import Prompts
from clipbench.models.weights.hub import fetching

Tokenise = Callable[[Sequence[str]], Prompts]
_USUAL_CONTEXT, _USUAL_VOCABULARY = 77, 49408
_FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model", "tokenizer.model")
"""Any of these in a folder says that its tokeniser can be read from there."""


def tokeniser(name: str, text: Mapping[str, Any], folder: Path | None) -> Tokenise:
    """The tokeniser of the model ``name`` with the ``text_cfg`` ``text``; made once, before any weights are loaded.

    Most models have CLIP's byte-pair encoding, which open_clip brings along. SigLIP, CLIPA and the worldwide CLIPs have
    one of their own: from ``folder`` (of the weights) where it lies there, else from the hub. Raises
    ``MissingWeightsError`` where it cannot be had.
    """
    context = text.get("context_length", _USUAL_CONTEXT)
    hub: str | None = text.get("hf_tokenizer_name")
    encode = _with_padding(_from_hub(name, hub, text, folder), context) if hub else _byte_pairs(context, text)
    mark = _ends(text, context)
    vocabulary: int = text.get("vocab_size", _USUAL_VOCABULARY)

    def tokenise(texts: Sequence[str]) -> Prompts:
        tokens, lost = encode(list(texts))
        if lost.any():
            raise UserError(
                f"the prompt {texts[int(lost.int().argmax())][:80]!r} does not fit into the {context} tokens of "
                f"{name}; shorten the template or the class name."
            )
        if int(tokens.max()) >= vocabulary:
            raise UserError(f"{name} has a vocabulary of {vocabulary} tokens, and its tokeniser gives more.")
        return mark(tokens)

    return tokenise


def _ends(text: Mapping[str, Any], context: int) -> Callable[[Tensor], Prompts]:
    """Where features are read, and whether what stands behind can be left out: only a causal tower ignores it."""
    pooled = text.get("pool_type", "argmax")
    if text.get("embed_cls"):  # a class token behind the last position
        return lambda tokens: Prompts.whole(tokens, torch.full((len(tokens),), context))
    if pooled in ("first", "last"):
        return lambda tokens: Prompts.whole(tokens, torch.full((len(tokens),), 0 if pooled == "first" else context - 1))
    form = Prompts.whole if text.get("no_causal_mask") else Prompts.cut
    if pooled == "eos":
        end = text.get("eos_id", 2)
        return lambda tokens: form(tokens, (tokens == end).int().argmax(dim=-1))
    return lambda tokens: form(tokens, tokens.argmax(dim=-1))


def _byte_pairs(context: int, text: Mapping[str, Any]) -> Callable[[list[str]], tuple[Tensor, Tensor]]:
    """CLIP's own encoding; tokens ``[C, L]``, and which texts are longer."""
    encoder = _simple_tokeniser(**text.get("tokenizer_kwargs", {}))

    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        tokens: Tensor = encoder(texts, context_length=context + 1)
        return tokens[:, :context], tokens[:, context] != 0

    return encode


@cache
def _simple_tokeniser(**options: Any) -> Any:
    """open_clip's, which reads its merges from a file each time that it is made."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(**options)


def _with_padding(encoder: Any, context: int) -> Callable[[list[str]], tuple[Tensor, Tensor]]:
    """transformers' encoding; a text is too long if one more position changes its tokens, or is filled."""

    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        tokens: Tensor = encoder(texts, context_length=context)
        more: Tensor = encoder(texts, context_length=context + 1)
        changed = (more[:, :context] != tokens).any(dim=1)
        return tokens, changed | (more[:, context] != encoder.tokenizer.pad_token_id)

    return encode


def _from_hub(name: str, hub: str, text: Mapping[str, Any], folder: Path | None) -> Any:
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UserError(
            f"the tokeniser of {name} needs transformers, which is not installed: run pip install 'clipbench[siglip]'."
        ) from None
    from open_clip.tokenizer import HFTokenizer

    here = folder is not None and any((folder / file).is_file() for file in _FILES)
    options = {"context_length": text.get("context_length", _USUAL_CONTEXT), **text.get("tokenizer_kwargs", {})}
    if here:
        try:
            return HFTokenizer(str(folder), **options)
        except Exception as error:
            raise MissingWeightsError(f"the tokeniser in {folder} cannot be read: {error}") from error
    with fetching(
        f"the tokeniser {hub} of {name}",
        remedy=f"put its files ({', '.join(_FILES[:2])}) into the folder of the weights, and pass --weights FOLDER",
    ):
        return HFTokenizer(hub, **options)

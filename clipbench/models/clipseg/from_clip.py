"""A CLIPSeg on the towers of any open_clip CLIP with a plain ViT: the towers' weights, and a decoder drawn anew.

Lueddecke and Ecker made theirs of OpenAI's ViT-B/16 in this way (CVPR 2022, sec. 3.1), and trained the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import Any

from torch import Tensor, nn

from clipbench.errors import UserError
from clipbench.models.clipseg.configs import Architecture
from clipbench.models.clipseg.same_towers import check_same

_REFINED_PATCH = 16
_QUARTERS = 4
"""The decoder reads after three quarters: with fewer blocks than four it would read one of them twice."""
_REASON = 300
"""Characters of PyTorch's list of tensors that do not fit: the first say enough."""
_HUGGING_FACE_TEXT = (77, 49408)
"""Context and vocabulary of CLIP's tokens: transformers' text model looks for their end-of-text token."""
_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""A block's parts, here and there; the fused projection is split besides."""
_PLAIN = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


def architecture_of(clip: Any, name: str) -> Architecture:
    """The CLIPSeg that fits an open_clip ``CLIP``: rd64's decoder, reading the blocks after 1/4, 1/2 and 3/4 of them.

    A patch of 16 px gets the refined head; another size gets CLIPSeg's plain one, a single transposed convolution.
    Raises ``UserError`` for a CLIP that is no such model, is shallow, or takes images that are no squares.
    """
    _check(clip, name)
    visual = clip.visual
    depth, patch = len(visual.transformer.resblocks), int(visual.patch_size[0])
    sizes = {
        "vision_config": _tower(visual.transformer, image_size=int(visual.image_size[0]), patch_size=patch),
        "text_config": _tower(clip.transformer),
        "projection_dim": int(visual.output_dim),
        "extract_layers": [depth * quarter // 4 for quarter in (1, 2, 3)],
        "reduce_dim": 64,
        "decoder_num_attention_heads": 4,
        "decoder_intermediate_size": 2048,
        "use_complex_transposed_convolution": patch == _REFINED_PATCH,
    }
    return Architecture(sizes, image_size=int(visual.image_size[0]))


def fill_towers(model: Any, clip: Any, name: str) -> None:
    """Give ``model``, a ``CLIPSegForImageSegmentation`` of :func:`architecture_of`, the weights of both towers.

    ``clip`` is brought to float32, as ``model`` is. Raises ``UserError`` for a CLIP with parts that CLIPSeg's towers do
    not have, or whose towers work differently with the same weights.
    """
    clip.float()
    if isinstance(clip.visual.ln_pre, nn.Identity):
        model.clip.vision_model.pre_layrnorm = nn.Identity()
    try:
        model.clip.load_state_dict(dict(_renamed(clip.state_dict())), strict=True)
    except (KeyError, RuntimeError) as error:
        foreign = isinstance(error, KeyError)
        reason = f"it has {error}, which they have not" if foreign else shorten(str(error), _REASON, placeholder=" ...")
        raise UserError(f"{name} is no plain CLIP whose towers CLIPSeg could take: {reason}.") from error
    check_same(model, clip, name)


def _tower(transformer: Any, **more: int) -> Mapping[str, Any]:
    from open_clip.transformer import QuickGELU

    block = transformer.resblocks[0]
    gelu = {"none": "gelu", "tanh": "gelu_pytorch_tanh"}
    return {
        "hidden_size": int(transformer.width),
        "intermediate_size": int(block.mlp.c_fc.out_features),
        "num_attention_heads": int(block.attn.num_heads),
        "num_hidden_layers": len(transformer.resblocks),
        "hidden_act": "quick_gelu" if isinstance(block.mlp.gelu, QuickGELU) else gelu[block.mlp.gelu.approximate],
        "layer_norm_eps": float(block.ln_1.eps),
        **more,
    }


def _renamed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Names and forms of transformers. Raises ``KeyError`` for a tensor that has no place there."""
    for name, value in tensors.items():
        if name in _PLAIN:
            yield _PLAIN[name], value
        elif name in _TRANSPOSED:
            yield _TRANSPOSED[name], value.T.contiguous()
        elif ".resblocks." in f".{name}":
            yield from _block(name, value)
        elif name != "attn_mask":
            raise KeyError(name)


def _block(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    tower, _, rest = name.partition("transformer.resblocks.")
    number, _, inner = rest.partition(".")
    place = f"{'vision_model' if tower else 'text_model'}.encoder.layers.{number}."
    part, _, kind = inner.rpartition(".")
    if inner.startswith("attn.in_proj_"):
        kind = inner.removeprefix("attn.in_proj_")
        for letter, third in zip("qkv", value.chunk(3), strict=True):
            yield f"{place}self_attn.{letter}_proj.{kind}", third
    else:
        yield f"{place}{_BLOCK[part]}.{kind}", value


def _check(clip: Any, name: str) -> None:
    if reason := _misfit(clip):
        raise UserError(f"{name} is no plain CLIP whose towers CLIPSeg could take: {reason}.")


def _misfit(clip: Any) -> str:
    """What keeps the CLIP's towers from being CLIPSeg's, as far as its build tells; empty where nothing does."""
    from open_clip.model import CLIP
    from open_clip.transformer import LayerScale, VisionTransformer

    plain = type(clip) is CLIP and type(clip.visual) is VisionTransformer and clip.visual.attn_pool is None
    text = (getattr(clip, "context_length", 0), getattr(clip, "vocab_size", 0))
    if not plain or clip.visual.pool_type != "tok" or text != _HUGGING_FACE_TEXT:
        return (
            f"it needs open_clip's own ViT, read at its class token, and a text tower for CLIP's "
            f"{_HUGGING_FACE_TEXT[1]} tokens"
        )
    if any(isinstance(part, LayerScale) for part in clip.modules()):
        return "its blocks scale their outputs (LayerScale, ls_init_value in its config), and those of CLIPSeg do not"
    (height, width), depth = clip.visual.image_size, len(clip.visual.transformer.resblocks)
    if height != width or len(set(clip.visual.patch_size)) > 1:
        return f"its images of {width} x {height} px are no squares of square patches, and those of CLIPSeg are"
    if depth < _QUARTERS:
        return f"its ViT has {depth} blocks, and the decoder reads after each of three quarters: it needs {_QUARTERS}"
    return ""

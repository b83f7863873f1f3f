"""MVDream's network as its authors describe it, plainly: names and shapes of its tensors, and what it computes of them.

Written from the layout of their public code (bytedance/MVDream, `MultiViewUNetModel`: `input_blocks`, `middle_block`,
`output_blocks`, each a sequence of residual block, transformer, and a change of size), as a second opinion on ours.
"""

from __future__ import annotations

import math
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional as F

FULL = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_head_channels": 64, "transformer_depth": 1,
    "context_dim": 1024, "use_checkpoint": False, "camera_dim": 16,
}  # fmt: skip
"""Of the published network (its sd-v2-base.yaml)."""
TINY = {**FULL, "image_size": 8, "model_channels": 32, "attention_resolutions": [2], "num_res_blocks": 1,
        "channel_mult": [1, 2], "num_head_channels": 16, "context_dim": 32}  # fmt: skip

Shapes = dict[str, tuple[int, ...]]


def layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": shape, **({f"{name}.bias": shape[:1]} if bias else {})}


def residual(name: str, before: int, after: int, clock: int) -> Shapes:
    found = {
        **layer(f"{name}.in_layers.0", before), **layer(f"{name}.in_layers.2", after, before, 3, 3),
        **layer(f"{name}.emb_layers.1", after, clock), **layer(f"{name}.out_layers.0", after),
        **layer(f"{name}.out_layers.3", after, after, 3, 3),
    }  # fmt: skip
    return found | (layer(f"{name}.skip_connection", after, before, 1, 1) if before != after else {})


def transformer(name: str, width: int, words: int) -> Shapes:
    found = {**layer(f"{name}.norm", width), **layer(f"{name}.proj_in", width, width)}
    block = f"{name}.transformer_blocks.0"
    for attention, source in (("attn1", width), ("attn2", words)):
        found |= layer(f"{block}.{attention}.to_q", width, width, bias=False)
        found |= layer(f"{block}.{attention}.to_k", width, source, bias=False)
        found |= layer(f"{block}.{attention}.to_v", width, source, bias=False)
        found |= layer(f"{block}.{attention}.to_out.0", width, width)
    found |= layer(f"{block}.ff.net.0.proj", 8 * width, width) | layer(f"{block}.ff.net.2", width, 4 * width)
    for i in (1, 2, 3):
        found |= layer(f"{block}.norm{i}", width)
    return found | layer(f"{name}.proj_out", width, width)


def shapes(config: dict) -> Shapes:
    """Names and shapes of all tensors of a network."""
    base, words, times = config["model_channels"], config["context_dim"], config["channel_mult"]
    clock, blocks, last = 4 * base, config["num_res_blocks"], len(config["channel_mult"]) - 1
    found: Shapes = {}
    for name, width in (("time_embed", base), ("camera_embed", config["camera_dim"])):
        found |= layer(f"{name}.0", clock, width) | layer(f"{name}.2", clock, clock)
    found |= layer("input_blocks.0.0", base, config["in_channels"], 3, 3)
    kept, width, number = [base], base, 1
    for level, factor in enumerate(times):
        for _ in range(blocks):
            found |= residual(f"input_blocks.{number}.0", width, base * factor, clock)
            width = base * factor
            if 2**level in config["attention_resolutions"]:
                found |= transformer(f"input_blocks.{number}.1", width, words)
            kept, number = [*kept, width], number + 1
        if level < last:
            found |= layer(f"input_blocks.{number}.0.op", width, width, 3, 3)
            kept, number = [*kept, width], number + 1
    found |= residual("middle_block.0", width, width, clock) | transformer("middle_block.1", width, words)
    found |= residual("middle_block.2", width, width, clock)
    number = 0
    for level in reversed(range(len(times))):
        for i in range(blocks + 1):
            found |= residual(f"output_blocks.{number}.0", width + kept.pop(), base * times[level], clock)
            width, part = base * times[level], 1
            if 2**level in config["attention_resolutions"]:
                found |= transformer(f"output_blocks.{number}.1", width, words)
                part = 2
            if level and i == blocks:
                found |= layer(f"output_blocks.{number}.{part}.conv", width, width, 3, 3)
            number += 1
    return found | layer("out.0", base) | layer("out.2", config["out_channels"], base, 3, 3)


def random_weights(config: dict, seed: int = 0) -> dict[str, Tensor]:
    """Weights that keep numbers of about one; none is zero, so that everything counts."""
    source = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes(config).items():
        noise = torch.randn(shape, generator=source)
        found[name] = noise / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.1 * noise
        if name.endswith("weight") and len(shape) == 1:  # of a norm
            found[name] += 1
    return found


class Published:
    """The network on named weights."""

    def __init__(self, weights: dict[str, Tensor], config: dict, views: int) -> None:
        self.w, self.config, self.views = weights, config, views

    def __call__(self, z: Tensor, time: Tensor, words: Tensor, camera: Tensor) -> Tensor:
        """What it predicts of noisy latents (groups of views one after the other), all (b, ...)."""
        half = self.config["model_channels"] // 2
        angle = time[:, None] * torch.exp(-math.log(10_000) * torch.arange(half) / half)
        clock = self.mlp("time_embed", torch.cat([angle.cos(), angle.sin()], -1)) + self.mlp("camera_embed", camera)
        x, kept = z, []
        for number in count():
            if not self.has(f"input_blocks.{number}."):
                break
            x = self.sequence(f"input_blocks.{number}", x, clock, words)
            kept.append(x)
        x = self.sequence("middle_block", x, clock, words)
        for number in range(len(kept)):
            x = self.sequence(f"output_blocks.{number}", torch.cat([x, kept.pop()], 1), clock, words)
        return self.conv("out.2", F.silu(self.group_norm("out.0", x)))

    def has(self, start: str) -> bool:
        return any(name.startswith(start) for name in self.w)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.w[f"{name}.weight"]
        return F.conv2d(x, weight, self.w[f"{name}.bias"], stride, padding=weight.shape[-1] // 2)

    def group_norm(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        return F.group_norm(x, 32, self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def mlp(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.2", F.silu(self.linear(f"{name}.0", x)))

    def sequence(self, name: str, x: Tensor, clock: Tensor, words: Tensor) -> Tensor:
        for part in count():
            one = f"{name}.{part}"
            if not self.has(one + "."):
                return x
            if self.has(f"{one}.in_layers"):
                x = self.residual(one, x, clock)
            elif self.has(f"{one}.proj_in"):
                x = self.transformer(one, x, words)
            elif self.has(f"{one}.op"):
                x = self.conv(f"{one}.op", x, stride=2)
            elif self.has(f"{one}.conv"):
                x = self.conv(f"{one}.conv", F.interpolate(x, scale_factor=2, mode="nearest"))
            else:
                x = self.conv(one, x)
        raise AssertionError

    def residual(self, name: str, x: Tensor, clock: Tensor) -> Tensor:
        h = self.conv(f"{name}.in_layers.2", F.silu(self.group_norm(f"{name}.in_layers.0", x)))
        h = h + self.linear(f"{name}.emb_layers.1", F.silu(clock))[..., None, None]
        h = self.conv(f"{name}.out_layers.3", F.silu(self.group_norm(f"{name}.out_layers.0", h)))
        return h + (self.conv(f"{name}.skip_connection", x) if self.has(f"{name}.skip_connection") else x)

    def transformer(self, name: str, x: Tensor, words: Tensor) -> Tensor:
        block, shape = f"{name}.transformer_blocks.0", x.shape
        h = self.linear(f"{name}.proj_in", self.group_norm(f"{name}.norm", x, 1e-6).flatten(2).transpose(1, 2))
        for start in range(0, len(h), self.views):  # every group on its own
            tokens = torch.cat(list(h[start : start + self.views]))
            normed = self.layer_norm(f"{block}.norm1", tokens)
            tokens = tokens + self.attention(f"{block}.attn1", normed, normed)
            h = torch.cat([h[:start], tokens.unflatten(0, (self.views, -1)), h[start + self.views :]])
        normed = self.layer_norm(f"{block}.norm2", h)
        h = h + torch.stack(
            [self.attention(f"{block}.attn2", one, said) for one, said in zip(normed, words, strict=True)]
        )
        value, gate = self.linear(f"{block}.ff.net.0.proj", self.layer_norm(f"{block}.norm3", h)).chunk(2, -1)
        h = h + self.linear(f"{block}.ff.net.2", value * F.gelu(gate))
        return x + self.linear(f"{name}.proj_out", h).transpose(1, 2).reshape(shape)

    def attention(self, name: str, x: Tensor, source: Tensor) -> Tensor:
        """Of one sequence (l, c) to another, head by head."""
        width = self.config["num_head_channels"]
        query, key, value = (self.linear(f"{name}.{part}", of).split(width, -1)
                             for part, of in (("to_q", x), ("to_k", source), ("to_v", source)))  # fmt: skip
        heads = [(q @ k.T / math.sqrt(width)).softmax(-1) @ v for q, k, v in zip(query, key, value, strict=True)]
        return self.linear(f"{name}.to_out.0", torch.cat(heads, -1))

"""MVDream's network: Stable Diffusion 2.1's, drawing several views of one object together.

Two things are new in that U-Net. The self-attention of a group's views is one, over the tokens of all of them; and the
camera, 16 numbers, goes through a small network of its own and is added to what tells the time. So it is diffusers'
U-Net with another attention and a class embedding for the camera, and weights are read under the names they were
published with, those of the latent diffusion code. Code that lies in a checkpoint's folder is never run.

Ref: Shi et al., "MVDream: multi-view diffusion for 3D generation" (2023), Sec. 3.1; layout and names are those of its
authors' public code.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...core.errors import ScoreliftError, bad
from .checkpoint import Checkpoint

VIEWS = 4
CAMERA = 16
PREFIX = "model.diffusion_model."
"""Of the network's names in a file that holds the whole model."""


def camera_numbers(pose: Float[Tensor, "b 12"]) -> Float[Tensor, "b 16"]:
    """What the network is told of cameras: 4 x 4 camera to world in Blender's axes, at distance 1 from the origin.

    Those are ours: +z up, and the objects' fronts face +x, or so it seems: the authors' text-to-image script begins
    there, and programs that build on the network take the view from there for the front.

    Args:
        pose: upper three rows of `c2w`.
    """
    rows = pose.unflatten(1, (3, 4))
    turn, place = rows[..., :3], torch.nn.functional.normalize(rows[..., 3:], dim=1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=pose.dtype, device=pose.device).expand(len(pose), -1)
    return torch.cat([torch.cat([turn, place], -1).flatten(1), last], 1)


class Together:
    """Attention over the tokens of a group's views as one sequence; groups lie one after the other in the batch."""

    def __init__(self, inner: Any, views: int) -> None:
        self.inner, self.views = inner, views

    def __call__(self, attention: Any, x: Float[Tensor, "bv l c"], *args: Any, **kwargs: Any) -> Tensor:
        together = x.unflatten(0, (-1, self.views)).flatten(1, 2)
        return self.inner(attention, together, *args, **kwargs).view_as(x)


def build_multiview(config: dict[str, Any], views: int = VIEWS) -> Any:
    """diffusers' U-Net with `views` views attending to each other, told cameras as class labels.

    Args:
        config: of the published network, as its `unet/config.json` has it.

    Raises:
        ScoreliftError: for a network of another kind.
    """
    from diffusers import UNet2DConditionModel

    net: Any = UNet2DConditionModel(**_settings(config))
    for name, module in net.named_modules():
        if name.endswith("attn1"):
            module.set_processor(Together(module.processor, views))
    return net


def published_weights(state: dict[str, Tensor], net: Any) -> dict[str, Tensor]:
    """Weights under our network's names, from weights under the published ones; a whole model's other parts are left.

    Raises:
        ScoreliftError: for names or shapes that are not the network's.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    if any(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): t for name, t in state.items() if name.startswith(PREFIX)}
    if absent := [name for name in ("camera_embed.0.weight", "out.2.weight") if name not in state]:
        raise bad("prior", expected=f"a multi-view network's weights, {absent[0]} among them", got="none of that name")
    known = {PREFIX + name.replace("camera_embed.", "label_emb.0."): t for name, t in state.items()}
    found = convert_ldm_unet_checkpoint(known, net.config)
    wanted = {name: t.shape for name, t in net.state_dict().items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != _shape(found.get(name)))
    if wrong or len(found) != len(state):
        what = f"{len(wrong)} others, such as {wrong[0]}" if wrong else f"{len(state) - len(found)} names more"
        raise bad("prior", expected=f"the {len(wanted)} tensors that its configuration makes", got=what)
    return found


def load_multiview(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """The network of a checkpoint, frozen.

    Raises:
        ScoreliftError: if it is of another kind, damaged, or its weights are pickles.
    """
    with checkpoint.explained("unet"), torch.device("meta"):
        net = build_multiview(checkpoint.config("unet"))
    state: dict[str, Tensor] = {}
    try:
        for file in checkpoint.weights("unet"):
            state |= load_file(file)
    except (OSError, SafetensorError) as error:
        raise ScoreliftError(f"prior: the unet in {checkpoint.folder} cannot be loaded ({error}).") from error
    found = published_weights(state, net)
    net.load_state_dict({name: t.to(dtype) for name, t in found.items()}, assign=True)
    return net.eval().requires_grad_(False)


def _shape(t: Tensor | None) -> torch.Size | None:
    return None if t is None else t.shape


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """diffusers' words for a published configuration."""
    if config.get("ip_dim"):
        raise bad("prior", expected="a network that reads text and cameras", got="one that wants a picture as well",
                  remedy="That is ImageDream, another model.")  # fmt: skip
    needed = ("model_channels", "channel_mult", "num_res_blocks", "attention_resolutions", "num_head_channels",
              "context_dim", "camera_dim", "in_channels", "out_channels", "image_size")  # fmt: skip
    if absent := [name for name in needed if not config.get(name)]:
        raise bad("prior", expected=f"{absent[0]} in the configuration of its unet", got="none")
    head, camera = config["num_head_channels"], config["camera_dim"]
    if head < 1 or camera != CAMERA:
        raise bad("prior", expected=f"heads of a fixed width and cameras of {CAMERA} numbers",
                  got=f"num_head_channels {head}, camera_dim {camera}")  # fmt: skip
    widths = [config["model_channels"] * times for times in config["channel_mult"]]
    attends = [2**i in config["attention_resolutions"] for i in range(len(widths))]
    return {
        "sample_size": config["image_size"],
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "block_out_channels": widths,
        "layers_per_block": config["num_res_blocks"],
        "down_block_types": ["CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attends)],
        "attention_head_dim": [width // head for width in widths],  # their number, in truth
        "transformer_layers_per_block": config.get("transformer_depth", 1),
        "cross_attention_dim": config["context_dim"],
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": CAMERA,
    }

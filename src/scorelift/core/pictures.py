"""Pictures as bytes and files, and labelled contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .files import write_bytes


def png_bytes(picture: np.ndarray) -> bytes:
    """An (h, w, 3) uint8 picture as PNG."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_uint8(picture: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture in [0, 1] as bytes."""
    return (picture.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an (h, w, 3) uint8 picture, whole or not at all."""
    write_bytes(path, png_bytes(picture))


def labelled_sheet(
    pictures: Float[Tensor, "n 3 h w"], labels: Sequence[str], columns: int, *, scale: int = 2
) -> UInt8[np.ndarray, "tall wide 3"]:
    """Pictures in rows, each with its label under it."""
    n, _, height, width = pictures.shape
    tall, wide, line = height * scale, width * scale, 11
    font = ImageFont.load_default(10)
    lines = [_wrap(label, font, wide) for label in labels]
    text = line * max(map(len, lines)) + 4
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * (wide + 6), rows * (tall + text)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, label) in enumerate(zip(pictures, lines, strict=True)):
        x, y = (i % columns) * (wide + 6), (i // columns) * (tall + text)
        sheet.paste(Image.fromarray(to_uint8(picture)).resize((wide, tall), Image.Resampling.NEAREST), (x, y))
        for k, part in enumerate(label):
            draw.text((x + 1, y + tall + k * line), part, fill="black", font=font)
    return np.asarray(sheet)


def _wrap(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines

"""Pictures as bytes and files, and labelled contact sheets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .files import write_bytes

INKS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#525252")


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


def plotted(
    curves: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, *, dots: bool = False, width: int = 800,
    height: int = 320,
) -> UInt8[np.ndarray, "h w 3"]:  # fmt: skip
    """Curves over one pair of axes, which begin at 0, with a legend.

    Args:
        curves: points (x, y) of each, by name; those that are not finite are left out.
        across: what x is.
        up: what y is.
        dots: whether points are marked.
    """
    sheet, font = Image.new("RGB", (width, height), "white"), ImageFont.load_default(10)
    draw = ImageDraw.Draw(sheet)
    points = [point for curve in curves.values() for point in curve if all(map(math.isfinite, point))]
    tops = [_round_up(max((point[k] for point in points), default=1.0)) for k in range(2)]
    left, right, top, bottom = 48, width - 170, 20, height - 34

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + point[0] / tops[0] * (right - left), bottom - point[1] / tops[1] * (bottom - top)

    for i in range(5):
        (x, _), (_, y) = place((tops[0] * i / 4, 0)), place((0, tops[1] * i / 4))
        draw.line([(left, y), (right, y)], fill="#e5e5e5")
        draw.text((x, bottom + 4), f"{tops[0] * i / 4:g}", fill="black", font=font, anchor="ma")
        draw.text((left - 5, y), f"{tops[1] * i / 4:g}", fill="black", font=font, anchor="rm")
    draw.text(((left + right) / 2, height - 14), across, fill="black", font=font, anchor="ma")
    draw.text((left, 4), up, fill="black", font=font)
    for i, (name, curve) in enumerate(curves.items()):
        line = [place(point) for point in curve if all(map(math.isfinite, point))]
        colour, y = INKS[i % len(INKS)], top + 16 * i
        draw.line(line, fill=colour, width=1 + dots)
        for px, py in line if dots else ():
            draw.ellipse([px - 3, py - 3, px + 3, py + 3], fill=colour)
        draw.line([(right + 12, y + 6), (right + 30, y + 6)], fill=colour, width=3)
        draw.text((right + 36, y), name, fill="black", font=font)
    return np.asarray(sheet)


def stacked(*pictures: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "tall wide 3"]:
    """Pictures one below the other, on white."""
    wide = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(p, ((0, 8), (0, wide - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded)


def _round_up(value: float) -> float:
    """The least of 1, 1.5, 2, 3, 4, 6, 8, 10 times a power of ten that is not below a value.

    >>> _round_up(0.31), _round_up(137), _round_up(0.0)
    (0.4, 150.0, 1.0)
    """
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(round(unit * step, 12) for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if unit * step >= value * (1 - 1e-9))


def _wrap(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines

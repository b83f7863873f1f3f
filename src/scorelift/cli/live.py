"""The command that shows a run in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def studio(
    run: Positional[Path], /, *, source: Literal["scene", "mesh"] = "scene", host: str = "127.0.0.1", port: int = 8080
) -> None:
    """Look at a run in the browser, finished or on its way, from any side in any light.

    Args:
        run: Folder of the run; while another terminal generates it, each new checkpoint is shown.
        source: The optimized scene, or the exported mesh; the browser has a switch.
        host: Address to listen at; 0.0.0.0 lets other machines look.
        port: Of the server.
    """
    from ..studio.server import serve

    try:
        serve(run, host=host, port=port, source=source, say=lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        print("\nscorelift: the studio is closed.")

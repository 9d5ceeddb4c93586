"""From a command line to settings.

Belongs here: where ``config.toml`` is, and which flag is which setting. Does not belong here: merging and checking (``settings``). A
newcomer would get wrong: the data folder must be known before its own ``config.toml`` can be read, so the file cannot name it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kalends.settings import Settings


def settings_from(*, data: Path | None, host: str | None = None, port: int | None = None, ops_port: int | None = None) -> "Settings":
    """Settings of the instance on *data*: defaults < config.toml < environment < these flags.

    Raises:
        Misconfigured: a setting cannot work; the detail names it.
    """
    from kalends import settings
    from kalends.app import network
    from kalends.client import connection

    folder = (data or connection.data_folder()).absolute()
    listeners = {name: value for name, value in (("host", host), ("port", port), ("ops_port", ops_port)) if value is not None}
    flags: dict[str, Any] = {"data": str(folder)} | ({"http": listeners} if listeners else {})
    loaded = settings.load(file=folder / "config.toml", environment=os.environ, flags=flags)
    network.check(loaded, environment=os.environ)
    return loaded

#!/usr/bin/env python3
"""Write the licences of what is shipped as a table, and refuse one that nobody has looked at.

Belongs here: reading a CycloneDX file and judging its licences. Does not belong here: making that file (``make sbom``). A newcomer would
get wrong: packages name the same licence in many ways, so each part of what they say is judged, and a package that says nothing is refused
until somebody has looked into it and written it down here.
"""

import json
import sys
from pathlib import Path
from typing import Any

KNOWN = frozenset(
    {
        *("0BSD", "Apache", "Apache 2.0", "Apache-2.0", "Apache License 2.0", "Apache License, Version 2.0", "Apache Software License"),
        *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License", "Apache-2.0 OR BSD-2-Clause"),
        *(
            "CC0-1.0",
            "CNRI-Python",
            "HPND",
            "ISC",
            "MIT",
            "MIT License",
            "MIT-0",
            "MIT-CMU",
            "MPL-2.0",
            "Mozilla Public License 2.0 (MPL 2.0)",
        ),
        *("PSF-2.0", "Python-2.0", "Python Software Foundation License", "Unlicense", "Zlib", "ZPL-2.1"),
    }
)
"""None of them asks anything of who runs or passes on Kalends but to keep their text. MPL-2.0 asks for the sources of changed files."""

LOOKED_UP = {
    "protobuf": "BSD-3-Clause",
    "rich-click": "MIT",
}
"""Of packages that say nothing of their licence: what their sources say."""


def licences_of(component: dict[str, Any]) -> list[str]:
    """What a component says of its licence, each once, in order."""
    found: dict[str, None] = {}
    for choice in component.get("licenses", []):
        said = choice.get("expression") or choice.get("license", {}).get("id") or choice.get("license", {}).get("name", "")
        found[said.removeprefix("License :: OSI Approved :: ")] = None
    return [one for one in found if one and "\n" not in one] or [LOOKED_UP.get(component["name"].lower(), "")]


def is_known(said: str) -> bool:
    """Whether every part of an expression is known."""
    parts = said.replace("(", " ").replace(")", " ").replace(" OR ", "\0").replace(" AND ", "\0").split("\0")
    return said in KNOWN or all(part.strip() in KNOWN for part in parts)


def table(sbom: dict[str, Any]) -> tuple[str, list[str]]:
    """The page, and the components that are refused."""
    lines = ["# Licences of what is shipped", "", "Made by `make sbom`.", "", "| Package | Version | Licence |", "|---|---|---|"]
    refused = []
    for component in sorted(sbom["components"], key=lambda one: one["name"].lower()):
        said = licences_of(component)
        if not any(is_known(one) for one in said):
            refused.append(f"{component['name']} {component['version']}: {', '.join(said) or 'says nothing'}")
        lines.append(f"| {component['name']} | {component['version']} | {', '.join(said)} |")
    return "\n".join(lines) + "\n", refused


def main(source: Path, target: Path) -> int:
    """Write the table; the exit status is 1 if something is refused."""
    page, refused = table(json.loads(source.read_text(encoding="utf-8")))
    target.write_text(page, encoding="utf-8")
    for one in refused:
        sys.stderr.write(f"a licence that nobody has looked at: {one}\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""`python -m codegen [OPENAPI.json] [FOLDER]`: write the provider's generated files into its folder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import render
from .document import Unmapped

HERE = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument(
        "document",
        type=Path,
        nargs="?",
        default=HERE.parent / "docs" / "openapi.json",
        help="the OpenAPI document, as `coffret openapi` prints it",
    )
    parser.add_argument("folder", type=Path, nargs="?", default=HERE, help="the provider's folder")
    arguments = parser.parse_args()
    try:
        made = render.files(json.loads(arguments.document.read_text()))
    except Unmapped as unmapped:
        sys.stderr.write(f"codegen: {unmapped}\n")
        return 1
    for old in arguments.folder.glob("internal/**/zz_*.go"):
        old.unlink()
    for path, text in made.items():
        target = arguments.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

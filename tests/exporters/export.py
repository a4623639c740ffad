"""Exports models, each into a folder of its own.

    python tests/exporters/export.py FOLDER of_keras [KIND...]

Wants the variable STOCKS, the recorded days.
"""

import argparse
import importlib
import pathlib
import shutil
import time

from recorded import recorded


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("framework", choices=["of_keras", "of_pytorch", "of_trees"])
    parser.add_argument("kinds", nargs="*")
    arguments = parser.parse_args()
    kinds = importlib.import_module(arguments.framework).kinds(recorded())
    for name, build in kinds.items():
        folder = arguments.folder / name
        if arguments.kinds and name not in arguments.kinds:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        start = time.monotonic()
        build(folder)
        print(f"exported {name} in {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()

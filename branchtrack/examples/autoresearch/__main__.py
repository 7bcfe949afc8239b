"""python -m branchtrack.examples.autoresearch [--agent scripted | --base-url URL --model M]"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from branchtrack.examples.autoresearch.loop import RUN, Laboratory, investigate
from branchtrack.examples.autoresearch.proposals import Agent, ModelAgent, ScriptedAgent


def main() -> None:
    """Run the loop, and print what came of it and how to look at it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, default=Path("autoresearch"), help="a new folder")
    parser.add_argument("--experiments", type=int, default=5)
    parser.add_argument("--agent", choices=("scripted",), default="scripted")
    parser.add_argument("--base-url", help="an OpenAI-compatible endpoint, in place of the script")
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty; --folder names a new one.")
    agent: Agent = ScriptedAgent()
    if options.base_url:
        agent = ModelAgent(options.base_url, options.model, os.environ.get("OPENAI_API_KEY", ""))
    laboratory = Laboratory(folder)
    investigate(laboratory, agent, options.experiments)
    print(f"\n{laboratory.table}\n")
    print(f"Best: {laboratory.best:.4f}. Look at all of them, failed ones too:\n")
    home = f"branchtrack --home {folder / 'home'}"
    print(f'  {home} find "run:{RUN} (kind:final or failed:yes)"')
    print(f"  {home} show {RUN}@200 --code\n  {home} serve")


if __name__ == "__main__":
    main()

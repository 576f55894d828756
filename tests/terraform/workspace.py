"""A folder with a configuration, and Terraform in it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


class Workspace:
    def __init__(self, folder: Path, terraform: str, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.command = terraform
        self.environment = dict(environment)

    def __call__(self, *arguments: str, fails: bool = False, **variables: str) -> str:
        """What Terraform says, given more variables of the environment; it must succeed, or fail."""
        done = subprocess.run(
            [self.command, *arguments, "-no-color"], cwd=self.folder, env=self.environment | variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr if fails else done.stdout

    def written(self) -> str:
        """All that Terraform has left in the folder."""
        files = [file for file in self.folder.rglob("*") if file.is_file() and file.name != "main.tf"]
        return "".join(file.read_text(errors="replace") for file in files)

"""What documents say in HCL is valid, and what they say in a shell exists."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from hcl import ROOT, STAND_INS, Terraform, completed

from control_plane.cli import main as coffret

PAGES = sorted(
    [
        ROOT / "README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/README.md"),
        *ROOT.glob("terraform-provider/templates/**/*.tmpl"),
    ]
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHERS = {
    ".", "/opt/coffret/bin/pip", "cd", "curl", "export", "gpg", "goreleaser", "openstack", "pip", "psql",
    "python3.11", "terraform",
}  # fmt: skip
"""Programs and words of the shell that are not ours."""
TARGET = re.compile(r"^((?:[a-z-]+ ?)+):(?!=)", re.MULTILINE)
TARGETS = set(" ".join(TARGET.findall((ROOT / "Makefile").read_text())).split())


@dataclass(frozen=True)
class Block:
    page: Path
    number: int
    language: str
    text: str

    @property
    def name(self) -> str:
        place = re.sub(r"\W+", "_", str(self.page.relative_to(ROOT)).partition(".md")[0])
        return f"{place}_{self.number}"


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        for number, found in enumerate(FENCE.finditer(page.read_text()), 1):
            if found[1] in languages:
                yield Block(page, number, found[1], found[2])


def test_every_fence_has_a_language_that_is_tested_or_is_no_code() -> None:
    known = {"terraform", "hcl", "sh", "shell", "console", "json", "text", ""}
    for page in PAGES:
        opened = re.findall(r"^ *```(\S*)$", page.read_text(), re.MULTILINE)[::2]
        assert set(opened) <= known, page


def test_the_hcl_of_documents_is_valid(cli: Terraform, tmp_path: Path) -> None:
    found = {block.name: block.text for block in blocks("terraform", "hcl")}
    assert len(found) >= 14
    unused = [text for text in STAND_INS if not any(text in block for block in found.values())]
    assert not unused, "these stand-ins stand for nothing any more"
    cli.validate_each(tmp_path, {name: completed(text) for name, text in found.items()})


def test_documents_have_the_form_that_terraform_fmt_gives(cli: Terraform, tmp_path: Path) -> None:
    for block in blocks("terraform", "hcl"):
        (tmp_path / f"{block.name}.tf").write_text(block.text)
    cli.run(tmp_path, "fmt", "-check", "-diff")


def test_the_json_of_documents_is_json() -> None:
    for block in blocks("json"):
        json.loads(block.text)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without variables before it. Pipes and the like are words, too."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words:
            yield words


def whole_lines(text: str) -> str:
    """Lines in which a quote goes on to the next, put together."""
    made = ""
    for line in text.splitlines():
        made += line
        made += "\n" if made.rpartition("\n")[2].count("'") % 2 == 0 else " "
    return made


def shell() -> Iterator[tuple[Path, list[str]]]:
    """Commands in fences, in indented lines and in the running text (`make …`, `coffret …`)."""
    for block in blocks("sh", "shell"):
        yield from ((block.page, words) for words in commands(whole_lines(block.text)))
    for page in PAGES:
        prose = FENCE.sub("", page.read_text())
        indented = re.findall(r"^ {4,}((?:make|coffret|coffret-agent) .*)$", prose, re.MULTILINE)
        spans = re.findall(r"`((?:make|coffret) [^`]*)`", prose)
        for line in (*indented, *spans):
            yield from ((page, words) for words in commands(line))


def test_links_of_documents_lead_somewhere() -> None:
    pages = [page for page in PAGES if page.suffix == ".md"]
    for page in (*pages, *ROOT.glob("terraform-provider/docs/**/*.md")):
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", FENCE.sub("", page.read_text())):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_tests_that_documents_name_are_there() -> None:
    there = "".join(file.read_text() for file in ROOT.glob("terraform-provider/internal/**/*_test.go"))
    named = {name for page in PAGES for name in re.findall(r"`(Test[A-Z]\w+)`", page.read_text())}
    assert named
    assert {name for name in named if f"func {name}(" not in there} == set()


def check_make(words: Iterable[str]) -> None:
    for word in words:
        if "=" not in word:
            assert word in TARGETS, f"make {word}"


def check_coffret(words: list[str]) -> None:
    """Each word is a command, as far as these go; each option is one of the last."""
    command: click.Command = coffret
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"coffret {words[0]}"
        command = command.commands[words.pop(0)]
    options = {"--help", *(name for each in command.params for name in each.opts)}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"{command.name} {word}"


def test_commands_of_documents_exist() -> None:
    seen = set()
    for page, (program, *words) in shell():
        seen.add(program)
        if program == "make":
            check_make(words)
        elif program in ("coffret", "/opt/coffret/bin/coffret"):
            check_coffret(words)
        elif "/" in program and (ROOT / program).exists():
            continue
        else:
            assert program in OTHERS | {"coffret-agent"}, f"{page}: {program}"
    assert {"make", "coffret", "terraform", "openstack"} <= seen


@pytest.mark.parametrize("block", list(blocks("sh", "shell")), ids=lambda block: block.name)
def test_bash_understands_the_shell_of_documents(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)

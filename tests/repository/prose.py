"""The prose of the repository: documents, and docstrings, comments and strings of programs."""

from __future__ import annotations

import ast
import dataclasses
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.repository.project import ROOT

#: Top-level folder -> patterns of its files; ``.`` has those beside the folders. Only docstrings of tests are read.
FILES = {
    ".": ["*.md", "*.py", "*.toml", "*.cff", "*.yaml", ".pre-commit-config.yaml", "Dockerfile", "MANIFEST.in"],
    ".ci": ["*"],
    ".github": ["**/*.md", "**/*.yml", "CODEOWNERS"],
    "benchmarks": ["*.md", "*.py"],
    "configs": ["*.yaml"],
    "docs": ["*.md"],
    "examples": ["*.py"],
    "findings": ["*.md", "*.py"],
    "gnnrec": ["**/*.py", "**/*.html", "**/*.js", "**/*.css"],
    "launch": ["*.sh", "*.sbatch", "*.py", "*.txt"],
    "tests": ["**/*.py"],
}
#: Stands for code. No phrase goes over it.
_CODE = "\0"


@dataclasses.dataclass(frozen=True)
class Prose:
    """The prose of one file.

    Attributes:
        path: The file.
        text: As many lines as the file has, with the prose of each. Code is a character that belongs to no word.
    """

    path: Path
    text: str

    def find(self, pattern: str) -> Iterator[str]:
        """Matches of a regular expression as ``FILE:LINE: text``. A space in it also matches the end of a line."""
        for match in re.finditer(pattern.replace(" ", r"\s+"), self.text, re.IGNORECASE):
            line = self.text.count("\n", 0, match.start()) + 1
            yield f"{self.path.relative_to(ROOT)}:{line}: {' '.join(match[0].split())}"


def files(folder: str) -> list[Path]:
    """Files of a top-level folder that have prose."""
    found = {path for pattern in FILES[folder] for path in (ROOT / folder).glob(pattern) if path.is_file()}
    return sorted(found)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring of a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


def read(path: Path) -> Prose:
    """The prose of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py" and path.is_relative_to(ROOT / "tests"):
        return Prose(path, _docstrings_alone(path))
    if path.suffix == ".py":
        return Prose(path, of_python(text))
    if path == ROOT / "CONTRIBUTING.md":
        # It quotes what is not to be written.
        rules = re.search(r"^## English\n.*?(?=^## )", text, re.DOTALL | re.MULTILINE)
        assert rules is not None
        text = text.replace(rules[0], "\n" * rules[0].count("\n"))
    if path.suffix != ".md":
        text = re.sub(r"^([ \t]*)#+:?", r"\1", text, flags=re.MULTILINE)
    return Prose(path, text)


def of_python(source: str) -> str:
    """Comments and strings of a Python program, at their lines."""
    out: list[str] = []
    line = 1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        content = _prose_of(token)
        out.append("\n" * (token.start[0] - line) + " " + content)
        line = token.start[0] + content.count("\n")
    return "".join(out)


def _prose_of(token: tokenize.TokenInfo) -> str:
    kind = tokenize.tok_name[token.type]
    if kind == "COMMENT":
        return token.string.lstrip("#: ")
    if kind == "STRING":
        return _content(token.string)
    if kind == "FSTRING_MIDDLE":
        return token.string
    return _CODE if kind in ("NAME", "OP", "NUMBER") else ""


def _content(string: str) -> str:
    """A string without quotes; what an f-string computes is code."""
    prefix, quote, content = re.fullmatch(r"(\w*)('''|\"\"\"|'|\")(.*)\2", string, re.DOTALL).groups()
    return re.sub(r"\{[^{}]*\}", _CODE, content) if "f" in prefix.lower() else content


def _docstrings_alone(path: Path) -> str:
    lines = [_CODE] * (path.read_text(encoding="utf-8").count("\n") + 1)
    for first, text in docstrings(path):
        for offset, line in enumerate(text.split("\n")):
            lines[first - 1 + offset] = line
    return "\n".join(lines)

"""Documents, docstrings, comments, messages and help keep to the rules of CONTRIBUTING.md, section English.

A program finds some words and forms. That a sentence is clear, it cannot find.
"""

from __future__ import annotations

import re

import pytest

from tests.repository import prose
from tests.repository.programs import help_text
from tests.repository.project import ROOT

#: Words and phrases that are not used, as regular expressions; a space also stands for the end of a line.
WORDS = [
    r"\b(?:everybody|somebody|nobody|people)\b",
    r"\b(?:go|goes|going|gone|went) on with\b",
    r"\bknown by\b",
    r"\b(?:has|have|had|having) no part in\b",
    r"\b(?:stands?|stood|standing) beside\b",
    r"\blives\b",
    r"\bwithout a word\b",
    r"\b(?:a|the|no) ways? out of\b",
]
#: What docstrings do not begin with.
BEGINNING = r"(?:What|Of|Where|How|Which|Who)\b"
#: Python's way to write a type; help says "number or null".
TYPES = r"\b(?:Union|Optional|Literal|Callable|Annotated)\[|<class\b|\btyping\."


@pytest.mark.parametrize("folder", prose.FILES)
def test_words_that_are_not_used(folder):
    paths = prose.files(folder)
    assert paths
    texts = map(prose.read, paths)
    found = [line for text in texts for word in WORDS for line in text.find(word)]
    assert not found, report(found)


@pytest.mark.parametrize("folder", [".", "benchmarks", "examples", "gnnrec", "launch", "tests"])
def test_docstrings_begin_with_a_verb_or_a_noun(folder):
    paths = [path for path in prose.files(folder) if path.suffix == ".py"]
    assert paths
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in paths
        for line, text in prose.docstrings(path)
        if re.match(BEGINNING, text)
    ]
    assert not found, report(found)


def commands() -> list[str]:
    """The commands that ``gnnrec --help`` lists."""
    return re.findall(r"^  ([a-z][\w-]*)  ", help_text("gnnrec"), re.MULTILINE)


@pytest.mark.parametrize("words", [("train_dist.py",), ("-m", "gnnrec.export"), ("gnnrec",)], ids=" ".join)
def test_help_has_no_types_of_python(words):
    programs = [words] if words != ("gnnrec",) else [words, *(("gnnrec", command) for command in commands())]
    texts = {" ".join(program): help_text(*program) for program in programs}
    assert words != ("gnnrec",) or {"gnnrec prepare", "gnnrec recommend", "gnnrec report"} <= set(texts)
    assert all("usage: " in text for text in texts.values())
    found = [
        f"{name}: {line.strip()}"
        for name, text in texts.items()
        for line in text.splitlines()
        if re.search(TYPES, line)
    ]
    assert not found, report(found)


def report(found: list[str]) -> str:
    """All places, for the message of a failed assertion."""
    return f"{len(found)} places:\n" + "\n".join(found)


# The rules themselves, on made text.


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""Nobody."""\n', [1]),
        ("x = 1  # for people\n", [1]),
        ("# A run is gone on\n# with here.\n", [1]),
        ('raise ValueError(\n    "the run is gone on "\n    "with later"\n)\n', [2]),
        ('f"{nobody} and {people!r}"\n', []),
        ('f"{name}: somebody"\n', [1]),
        ("nobody = people + somebody\n", []),
        ('a = "gone on"; with_ = "with"\n', []),
        ('x = """\nfirst\nsecond without\na word\n"""\ny = "lives"\n', [3, 6]),
        ("# deliveries, peoples and knownby\n", []),
    ],
)
def test_words_are_found_in_prose_and_not_in_code(source, lines):
    made = prose.Prose(ROOT / "made.py", prose.of_python(source))
    assert sorted(int(line.split(":")[1]) for word in WORDS for line in made.find(word)) == lines


@pytest.mark.parametrize(
    "text", ["What is left.", "Of a movie.", "Where rows are.", "How often.", "Which one.", "Who."]
)
def test_beginnings_are_found(text):
    assert re.match(BEGINNING, text)


@pytest.mark.parametrize("text", ["Offsets of rows.", "Whether it is there.", "Returns what is left.", "Whole lists."])
def test_other_beginnings_are_not(text):
    assert not re.match(BEGINNING, text)


@pytest.mark.parametrize("text", ["(type: Union[int, null])", "<class 'str'>", "Optional[int]", "typing.Any"])
def test_types_are_found(text):
    assert re.search(TYPES, text) and not re.search(TYPES, "(type: number or null, default: null)")

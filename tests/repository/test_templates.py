"""Templates of GitHub for issues and pull requests."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.repository.project import ROOT

GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_has_what_github_needs(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(form) == {"name", "description", "labels", "body"}
    assert len({item["id"] for item in form["body"]}) == len(form["body"])
    for item in form["body"]:
        assert item["type"] in {"textarea", "input", "checkboxes"}
        assert {"label", "description"} <= set(item["attributes"])
        assert set(item) <= {"type", "id", "attributes", "validations"}


def test_there_are_two_forms():
    assert [path.name for path in FORMS] == ["bug_report.yml", "feature_request.yml"]
    assert set(yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text())) == {"blank_issues_enabled"}


def test_the_pull_request_asks_for_what_a_change_must_show():
    template = (GITHUB / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    rules = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## What a change must show\n")[1]
    rules = rules.split("\n## ")[0]
    # One line for each rule, and one for the checks.
    assert len(re.findall(r"^- \[ \] ", template, re.MULTILINE)) == len(re.findall(r"^- ", rules, re.MULTILINE)) + 1
    places = re.findall(r"`([\w.-]+(?:/[\w.-]+)+|[\w.-]+\.md)`", template)
    assert len(places) > 4
    for place in places:
        assert (ROOT / place).exists() and place in rules


def test_the_owners_are_a_team():
    lines = [line for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["* @gnnrec/maintainers"]

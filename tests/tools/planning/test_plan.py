"""``gnnrec plan``: printed figures, advice and errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gnnrec.cli.main import run_command
from gnnrec.errors import UserError
from gnnrec.tools.planning.advice import least_ranks, most_movies
from gnnrec.tools.planning.estimate import deployment_of, estimate
from gnnrec.tools.planning.options import PlanOptions
from gnnrec.tools.planning.plan import plan
from tests.datasets import write_dataset

BIG = ["--users", "1e9", "--movies", "1e6", "--ratings", "1e11", "--gpu", "h100"]
SMALL = "plan --users 1e4 --movies 1e3 --ratings 1e5"


def printed(capsys: pytest.CaptureFixture, *words: str) -> str:
    run_command(["plan", *words])
    return capsys.readouterr().out


def test_a_projection_is_marked_and_lists_options_that_fit(capsys):
    text = printed(capsys, *BIG, "--gpus", "64")
    times = text[text.index("time of a step") : text.index("bottleneck")]
    assert "projected" in times and "measured" not in times
    assert "bottleneck: does not fit" in text
    (ranks,) = [line.split()[3] for line in text.splitlines() if "(more ranks)" in line]
    assert "does not fit" not in printed(capsys, *BIG, "--gpus", ranks)
    assert "does not fit" in printed(capsys, *BIG, "--gpus", str(int(ranks) - 1))
    assert "no such GPU was measured" in text and "Assumes 40% of data sheets" in text


def test_a_cpu_is_measured(capsys):
    text = printed(capsys, "--users", "1e4", "--movies", "1e3", "--ratings", "1e5")
    assert "projected" not in text and "forward and backward" in text
    assert "all-reduced by a rank in a step" in text and "bottleneck: compute" in text


def test_numbers_of_a_dataset_and_of_a_configuration(tmp_path: Path, capsys):
    data = write_dataset(tmp_path / "data", users=50, movies=30, ratings=500)
    (tmp_path / "my.yaml").write_text("model: {dim: 24, layers: 2}\nloader: {folds: 7}\n")
    found = plan(PlanOptions(data=data.directory, config=tmp_path / "my.yaml", layers=3, gpus=2))
    job, counts = found.job, data.manifest.split["counts"]
    assert (job.users, job.movies, job.ratings) == (data.num_users, data.num_movies, counts["train"])
    assert (job.model.dim, job.model.layers, job.loader.folds, job.ranks) == (24, 3, 7, 2)
    assert f"{counts['train']:,} training ratings" in capsys.readouterr().out
    assert plan(PlanOptions(data=data.directory, users=99)).job.users == 99


def test_user_rows_on_the_host_and_sampled_steps_need_less_of_a_gpu():
    def memory(**options: object) -> float:
        chosen = PlanOptions(users=1e9, movies=1e6, ratings=1e11, gpus=64, gpu="h100", **options)
        return estimate(chosen.job(), deployment_of(chosen)).device_bytes

    plain = ["loader.control_variate=false"]
    assert memory(user_rows="host") < memory()
    assert memory(seed_users=1e6, movies_per_user=10, raters_per_movie=10, set=plain) < memory()
    assert memory(dim=32) < memory() < memory(layers=2)


def test_replicated_movies_are_cheap_up_to_a_number():
    options = PlanOptions(users=1e8, movies=1e5, ratings=1e10, gpus=64, gpu="h100", link=5)
    found = estimate(options.job(), deployment_of(options))
    most, ended_by = most_movies(found)
    assert ended_by == "collectives"

    def share(movies: float) -> float:
        return estimate(dataclasses.replace(found.job, movies=int(movies)), found.place).collective_share

    assert share(0.95 * most) <= 0.5 < share(1.05 * most)


def test_more_ranks_do_not_help_if_movies_fill_a_rank():
    options = PlanOptions(users=1e6, movies=1e9, ratings=1e9, gpu="h100")
    assert least_ranks(options.job(), deployment_of(options)) is None


MISTAKES = {
    "plan --users 1e6 --movies 10": ["--ratings is missing", "--data"],
    "plan --users 10.5 --movies 10 --ratings 30": ["--users 10.5", "whole number"],
    "plan --users 0 --movies 10 --ratings 30": ["--users 0", "from 1"],
    "plan --users nan --movies 10 --ratings 30": ["--users nan"],
    "plan --users 10 --movies 10 --ratings 300": ["--ratings 300", "100 pairs"],
    "plan --users many --movies 10 --ratings 30": ["--users many", "a number"],
    "plan --users 10 --movies 10 --ratings 30 --gpus 11": ["--gpus 11", "10 users"],
    f"{SMALL} --gpus 0": ["--gpus 0", "at least 1"],
    f"{SMALL} --gpu h300": ["--gpu h300", "h200"],
    f"{SMALL} --dim 0": ["dim 0", "at least 1"],
    f"{SMALL} --folds 1": ["folds 1", "2 to 256"],
    f"{SMALL} --architecture gnc": ["architecture gnc", "gcn"],
    f"{SMALL} --link 0": ["--link 0", "above 0"],
    f"{SMALL} --achieved 2": ["--achieved 2", "at most 1"],
    f"{SMALL} --memory -1": ["--memory -1", "above 0"],
    f"{SMALL} --years -1": ["--years -1", "0 (no temporal bias)"],
    f"{SMALL} --set objective=ranking": ["objective", "only the rating objective"],
    f"{SMALL} --config nowhere.yaml": ["nowhere.yaml", "no such file"],
    "plan --data nowhere": ["nowhere"],
    "plan --usrs 3": ["did you mean --users?"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_bad_input_raises_one_line(line: str):
    with pytest.raises(UserError) as refused:
        run_command(line.split())
    assert "\n" not in str(refused.value)
    for words in MISTAKES[line]:
        assert words in str(refused.value)

"""The manifests in launch/kubernetes fit the schema of Kubernetes, each other, and what gnnrec does."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest
import yaml

from gnnrec._version import __version__
from gnnrec.errors import RANKS_LOST_EXIT_CODE, STOPPED_EXIT_CODE, USER_ERROR_EXIT_CODE
from tests.end_to_end.test_documents import check_torchrun, check_training
from tests.repository.project import ROOT

FOLDER = ROOT / "launch" / "kubernetes"
#: Releases whose schema the manifests must fit: the first in which all that they use is stable, and the newest known.
RELEASES = ["1.31", kubernetes_validate.latest_version()]
#: Objects by file.
FILES = {path.name: list(yaml.safe_load_all(path.read_text())) for path in sorted(FOLDER.glob("*.yaml"))}
#: Specifications of jobs by name.
JOBS = {
    each["metadata"]["name"]: each["spec"].get("jobTemplate", each)["spec"]
    for objects in FILES.values()
    for each in objects
    if each["kind"] in ("Job", "CronJob")
}


def container(job: str) -> dict:
    (found,) = JOBS[job]["template"]["spec"]["containers"]
    return found


def variables(job: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(job)["env"]}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", FILES)
def test_manifests_fit_the_published_schema(name, release):
    for each in FILES[name]:
        kubernetes_validate.validate(each, release, strict=True)
        wrong = copy.deepcopy(each)
        wrong["spec"]["replicated"] = 2
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, release, strict=True)


def test_there_is_a_job_of_each_kind():
    assert set(JOBS) == {"gnnrec-train", "gnnrec-export", "gnnrec-update"}


@pytest.mark.parametrize("job", JOBS)
def test_exit_codes_lead_to_what_they_mean(job):
    """Bad input ends the job; a stop and lost ranks are not counted; the rest counts to the limit of restarts."""
    rules = JOBS[job]["podFailurePolicy"]["rules"]
    codes = {rule["action"]: rule["onExitCodes"] for rule in rules if "onExitCodes" in rule}
    assert codes["FailJob"]["values"] == [USER_ERROR_EXIT_CODE]
    assert codes["Ignore"]["values"] == [STOPPED_EXIT_CODE, RANKS_LOST_EXIT_CODE]
    assert {rule["containerName"] for rule in codes.values()} == {container(job)["name"]}
    assert all(rule["operator"] == "In" for rule in codes.values())
    assert rules[-1] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    # What a policy of pod failures asks for, and time to save.
    assert JOBS[job]["template"]["spec"]["restartPolicy"] == "Never" and JOBS[job]["backoffLimit"] > 0
    assert JOBS[job]["template"]["spec"]["terminationGracePeriodSeconds"] >= 120
    # torchrun inside a pod does not restart ranks, or the job would not see the codes.
    assert variables(job)["MAX_RESTARTS"] == "0"


def test_pods_of_training_find_each_other():
    service, job = FILES["train.yaml"]
    name, spec, pod = service["metadata"]["name"], job["spec"], job["spec"]["template"]
    assert spec["completions"] == spec["parallelism"] == int(variables("gnnrec-train")["NODES"])
    assert spec["completionMode"] == "Indexed" and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == name
    assert variables("gnnrec-train")["HEAD_HOST"] == f"{job['metadata']['name']}-0.{name}"


@pytest.mark.parametrize("index", [0, 1])
def test_the_first_pod_hosts_the_rendezvous(tmp_path, index):
    """Its record in the headless service may be late, and then torchrun would guess that no pod does."""
    words = started("gnnrec-train", tmp_path, host=f"gnnrec-train-{index}")
    assert ("is_host=1" in words) == (index == 0) and "is_host=0" not in words


@pytest.mark.parametrize("job", JOBS)
def test_volumes_and_image_are_those_of_the_project(job):
    spec, (claim,) = JOBS[job]["template"]["spec"], FILES["storage.yaml"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert {each["name"] for each in container(job)["volumeMounts"]} == set(volumes)
    assert volumes["work"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert container(job)["image"].endswith(f"/gnnrec:{__version__}")
    gpus, ranks = container(job)["resources"]["limits"]["nvidia.com/gpu"], variables(job)["RANKS_PER_NODE"]
    assert gpus == int(ranks)
    assert spec["securityContext"]["runAsUser"] == 1000  # that of the image


def started(job: str, tmp_path: Path, host: str = "any") -> list[str]:
    """The words that a pod gives to Python, with a Python that prints them."""
    python, hostname = tmp_path / "bin" / "python", tmp_path / "bin" / "hostname"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    python.chmod(0o755)
    interpreter, script = container(job)["command"]
    place = ROOT / PurePosixPath(script).relative_to("/opt/gnnrec")
    hostname.write_text(f"#!/bin/sh\necho {host}\n")
    hostname.chmod(0o755)
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""} | variables(job)
    environment["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"  # as in every pod
    result = subprocess.run(
        [interpreter, place, *container(job)["args"]], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout.splitlines()[1:]


@pytest.mark.parametrize("job", JOBS)
def test_a_pod_starts_what_gnnrec_accepts(job, tmp_path):
    launcher, *words = [word.replace("/opt/gnnrec", str(ROOT)) for word in started(job, tmp_path)]
    assert Path(launcher).resolve() == ROOT / "launch" / "stoppable_torchrun.py"
    options = dict(zip(words, words[1:]))
    assert (options["--max-restarts"], options["--nproc-per-node"]) == ("0", variables(job)["RANKS_PER_NODE"])
    if job == "gnnrec-train":
        assert options["--rdzv-endpoint"] == "gnnrec-train-0.gnnrec-train:29400" and options["--nnodes"] == "2:2"
        program = next(place for place, word in enumerate(words) if word.endswith("train_dist.py"))
        assert words[program + 1 :] == [word.replace("/opt/gnnrec", str(ROOT)) for word in container(job)["args"]]
        check_training(words[program + 1 :])
    else:
        check_torchrun(words)


def test_the_starter_refuses_an_image_without_python(tmp_path):
    (tmp_path / "bash").symlink_to("/bin/bash")
    result = subprocess.run(
        [tmp_path / "bash", FOLDER / "start.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1 and "no python in PATH" in result.stderr

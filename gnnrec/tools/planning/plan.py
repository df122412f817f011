"""``gnnrec plan``: estimates memory, traffic and time of a training run in advance."""

from __future__ import annotations

from gnnrec.tools.planning.advice import most_movies, movie_bytes, ways_to_fit
from gnnrec.tools.planning.constants import Constants, constants
from gnnrec.tools.planning.estimate import Estimate, deployment_of, estimate
from gnnrec.tools.planning.options import PlanOptions
from gnnrec.tools.planning.work import work_of
from gnnrec.utils.log import print_line

COUNTED, ESTIMATED, MEASURED, PROJECTED = "counted", "estimated", "measured", "projected"
#: Multiple of the largest measured work beyond which times are marked as extrapolated.
_NEAR = 4.0


def plan(options: PlanOptions) -> Estimate:
    """Prints and returns the estimated cost of a training run.

    Args:
        options: The job and the machines.

    Raises:
        UserError: An invalid option.
    """
    planned = estimate(options.job(), deployment_of(options))
    for line in lines(planned, constants()):
        print_line(line)
    return planned


def lines(planned: Estimate, measured: Constants) -> list[str]:
    """Formats the plan; each figure has its origin."""
    job, place = planned.job, planned.place
    model, loader = job.model, job.loader
    users = f"{job.batch_users * job.ranks:,.0f} users"
    kind = f"{users} with {'a sample of their' if loader.samples else 'all'} neighbors"
    shape = f"{model.architecture}, {model.dim} dims, layers: {model.layers}"
    text = [
        f"{job.users:,} users, {job.movies:,} movies, {job.ratings:,} training ratings",
        f"{shape}; {loader.folds} folds x {job.slices:,} steps of {kind}",
        f"{job.ranks:,} ranks, each {place.machine.name} with {_gb(place.memory)}",
        "",
        *_memory(planned),
        "",
        *_traffic(planned),
        "",
        *_time(planned, measured),
        "",
        *_verdict(planned),
        "",
        *_sources(planned, measured),
    ]
    return text


def _memory(planned: Estimate) -> list[str]:
    rows = [("memory of a rank", "", "")]
    for part in planned.memory:
        name = part.name + (", on the host" if part.place == "host" else "")
        rows.append((f"  {name}", _gb(part.bytes), COUNTED if part.exact else ESTIMATED))
    rows.append(("  total", _gb(planned.device_bytes), ESTIMATED))
    rows.append(("  host memory while ratings are read", _gb(planned.reading), ESTIMATED))
    if planned.interest is not None:
        rows.append(("  while interest is fitted, after training", _gb(planned.interest_bytes), ESTIMATED))
    return _table(rows)


def _traffic(planned: Estimate) -> list[str]:
    rows = [("all-reduced by a rank in a step", "", "")]
    rows += [(f"  {part.name}", _gb(part.bytes), COUNTED) for part in planned.traffic]
    return _table([*rows, ("  total", _gb(planned.bytes_a_step), COUNTED)])


def _time(planned: Estimate, measured: Constants) -> list[str]:
    rows = [("time of a step", "", "")]
    far = planned.place.machine.measured and extrapolated(planned, measured)
    for share in planned.time:
        origin = (f"{MEASURED}, extrapolated" if far else MEASURED) if share.measured else PROJECTED
        rows.append((f"  {share.name}", _seconds(share.seconds), f"{origin} ({share.kind})"))
    origin = PROJECTED
    if all(share.measured for share in planned.time):
        origin = f"{MEASURED}, extrapolated" if far else MEASURED
    rows.append(("  total", _seconds(planned.step_seconds), origin))
    rows.append((f"epoch of {planned.job.steps:,} steps", _seconds(planned.epoch_seconds), origin))
    speed = planned.job.ratings / planned.epoch_seconds
    rows.append(("training ratings per second", f"{speed:,.0f}", origin))
    if planned.interest is not None:
        origin = ESTIMATED if planned.place.machine.measured else PROJECTED
        rows.append(("interest, after training", _seconds(planned.interest.seconds), origin))
    return _table(rows)


def _verdict(planned: Estimate) -> list[str]:
    text = [f"bottleneck: {planned.bottleneck}"]
    if not planned.fits:
        needed = max(planned.device_bytes, planned.interest_bytes)
        text[0] += f": {_gb(needed)} a rank, {_gb(planned.place.memory)} available"
        text += [f"  would fit: {way}" for way in ways_to_fit(planned)]
    text.append(f"replicated movies: {_gb(movie_bytes(planned))} on every rank")
    if planned.job.ranks > 1:
        text[-1] += f"; collectives take {planned.collective_share:.0%} of a step"
    most, limited_by = most_movies(planned)
    if limited_by:
        reason = {"collectives": "half of a step is collectives", "memory": "they take half of the memory"}[limited_by]
        text.append(f"  replicating them is right up to about {_round(most):,} movies: beyond that {reason}")
    return text


def _sources(planned: Estimate, measured: Constants) -> list[str]:
    text = [
        "counted: from sizes of tensors, which tests compare with real runs; estimated: counted from the code,",
        "and compared with peaks of real runs.",
    ]
    if planned.place.machine.measured:
        text.append(f"measured: on {measured.hardware}, {measured.date}, commit {measured.commit}, one thread a rank;")
        error = f"largest error of a step {max(measured.fit_error, measured.check_error):.0%}"
        text.append(f"{error} ({'held-out runs among them' if measured.check_error else 'of the fit alone'}).")
    else:
        share = planned.place.network.achieved
        text += [
            f"projected: no such GPU was measured. Assumes {share:.0%} of data sheets (--achieved) and no cache hits",
            "of messages. Trust times only within a factor of three.",
        ]
    return text


def extrapolated(planned: Estimate, measured: Constants) -> bool:
    """Returns whether a job has far more work than was measured."""
    work = work_of(planned.job)
    return any(work[name] > _NEAR * largest for name, largest in measured.largest.items() if measured.seconds[name])


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    return [f"{name:46}{value:>14}  {origin}".rstrip() for name, value, origin in rows]


def _gb(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= 0.9995 * unit:
            return f"{size / unit:,.2f} {name}"
    return f"{size / 1e3:,.2f} kB"


def _seconds(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds:,.1f} s" if seconds >= 10 else f"{seconds * 1e3:,.1f} ms"


def _round(number: float) -> int:
    """Rounds down to two leading digits, which is the precision of the estimate."""
    digits = max(len(str(int(number))) - 2, 0)
    return int(number) // 10**digits * 10**digits

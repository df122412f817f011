"""``gnnrec plan``: memory, traffic and time of a training run, before there is one."""

from __future__ import annotations

from gnnrec.tools.planning.advice import most_movies, movie_bytes, ways_to_fit
from gnnrec.tools.planning.constants import Constants, constants
from gnnrec.tools.planning.estimate import Estimate, estimate, place_of
from gnnrec.tools.planning.options import PlanOptions
from gnnrec.tools.planning.work import work_of
from gnnrec.utils.log import print_line

COUNTED, ESTIMATED, MEASURED, PROJECTED = "counted", "estimated", "measured", "projected"
#: TimeTotals of what was measured, past which constants are called extrapolated.
_NEAR = 4.0


def plan(options: PlanOptions) -> Estimate:
    """Prints what a training run would cost, and returns it.

    Args:
        options: What to train, and on what.

    Raises:
        UserError: An option cannot be.
    """
    found = estimate(options.job(), place_of(options))
    for line in lines(found, constants()):
        print_line(line)
    return found


def lines(found: Estimate, measured: Constants) -> list[str]:
    """The plan as text. Every figure says where it comes from."""
    job, place = found.job, found.place
    model, loader = job.model, job.loader
    users = f"{job.batch_users * job.ranks:,.0f} users"
    kind = f"{users} with {'a sample of their' if loader.samples else 'all'} neighbours"
    shape = f"{model.architecture}, {model.dim} dims, layers: {model.layers}"
    text = [
        f"{job.users:,} users, {job.movies:,} movies, {job.ratings:,} training ratings",
        f"{shape}; {loader.folds} folds x {job.slices:,} steps of {kind}",
        f"{job.ranks:,} ranks, each {place.machine.name} with {_gb(place.memory)}",
        "",
        *_memory(found),
        "",
        *_traffic(found),
        "",
        *_time(found, measured),
        "",
        *_verdict(found),
        "",
        *_sources(found, measured),
    ]
    return text


def _memory(found: Estimate) -> list[str]:
    rows = [("memory of a rank", "", "")]
    for part in found.memory:
        name = part.name + (", on the host" if part.place == "host" else "")
        rows.append((f"  {name}", _gb(part.bytes), COUNTED if part.exact else ESTIMATED))
    rows.append(("  together", _gb(found.device_bytes), ESTIMATED))
    rows.append(("  host memory while ratings are read", _gb(found.reading), MEASURED))
    return _table(rows)


def _traffic(found: Estimate) -> list[str]:
    rows = [("handed to collectives by a rank in a step", "", "")]
    rows += [(f"  {part.name}", _gb(part.bytes), COUNTED) for part in found.traffic]
    return _table([*rows, ("  together", _gb(found.bytes_a_step), COUNTED)])


def _time(found: Estimate, measured: Constants) -> list[str]:
    rows = [("time of a step", "", "")]
    far = found.place.machine.measured and extrapolated(found, measured)
    for share in found.time:
        origin = (f"{MEASURED}, extrapolated" if far else MEASURED) if share.measured else PROJECTED
        rows.append((f"  {share.name}", _seconds(share.seconds), f"{origin} ({share.kind})"))
    origin = PROJECTED
    if all(share.measured for share in found.time):
        origin = f"{MEASURED}, extrapolated" if far else MEASURED
    rows.append(("  together", _seconds(found.step_seconds), origin))
    rows.append((f"epoch of {found.job.steps:,} steps", _seconds(found.epoch_seconds), origin))
    speed = found.job.ratings / found.epoch_seconds
    return _table([*rows, ("supervised ratings a second", f"{speed:,.0f}", origin)])


def _verdict(found: Estimate) -> list[str]:
    text = [f"bottleneck: {found.bottleneck}"]
    if not found.fits:
        text[0] += f": {_gb(found.device_bytes)} a rank, {_gb(found.place.memory)} there"
        text += [f"  would fit: {way}" for way in ways_to_fit(found)]
    text.append(f"replicated movies: {_gb(movie_bytes(found))} on every rank")
    if found.job.ranks > 1:
        text[-1] += f"; collectives take {found.collective_share:.0%} of a step"
    most, ended_by = most_movies(found)
    if ended_by:
        limit = {"collectives": "half of a step is collectives", "memory": "they take half of the memory"}[ended_by]
        text.append(f"  replicating them is right up to about {_round(most):,} movies: past that {limit}")
    return text


def _sources(found: Estimate, measured: Constants) -> list[str]:
    text = [
        "counted: from the sizes of tensors, which tests compare with real runs; estimated: counted from the code,",
        "compared with peaks of real runs.",
    ]
    if found.place.machine.measured:
        text.append(f"measured: on {measured.hardware}, {measured.date}, commit {measured.commit}, one thread a rank;")
        error = f"largest error of a step {max(measured.fit_error, measured.check_error):.0%}"
        text.append(f"{error} ({'held-out runs among them' if measured.check_error else 'of the fit alone'}).")
    else:
        share = found.place.network.achieved
        text += [
            f"projected: no such GPU was measured. Data sheets, of which {share:.0%} is reached (--achieved): an",
            "assumption, as is that messages find nothing in caches. Take times as right within a factor of three.",
        ]
    return text


def extrapolated(found: Estimate, measured: Constants) -> bool:
    """More work than was measured, by far."""
    work = work_of(found.job)
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
    """Two leading digits: nobody should read more out of it."""
    digits = max(len(str(int(number))) - 2, 0)
    return int(number) // 10**digits * 10**digits

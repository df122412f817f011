"""Movies as points of a plane: near each other where the model has similar vectors for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.reporting.charts import finished
from gnnrec.reporting.content import Figure, Section

#: Most rated movies on the map, at most.
MOST_MOVIES = 2000
#: Genres with a colour of their own.
_GENRES = 9
_COMPONENTS, _FEWEST = 30, 5


def movie_map(catalogue: MovieCatalog, vectors: np.ndarray) -> Section | None:
    """The map as a section; None where movies are too few.

    Args:
        catalogue: Movies and how often they were rated.
        vectors: float32 ``[movies, dim]``.
    """
    rows = most_rated(catalogue, MOST_MOVIES)
    if len(rows) < _FEWEST:
        return None
    table = pd.DataFrame(projection(vectors[rows]).round(2), columns=["x", "y"])
    table["title"] = [catalogue.titles[row] for row in rows]
    table["genres"] = [", ".join(catalogue.genres[row]) for row in rows]
    table["ratings"] = catalogue.counts[rows]
    genre = leading_genres([catalogue.genres[row] for row in rows])
    text = (
        f"The {len(rows):,} most rated movies, by their vectors: PCA, then t-SNE of directions. Neighbours are alike "
        "to the model; distances between far points mean nothing, and neither do the axes. Larger points were rated "
        "more often."
    )
    caption = "Point at a movie for its title. Ctrl and the wheel zoom, dragging moves, a double click goes back."
    if genre is not None:
        table["genre"] = genre
        caption += " Click a genre to see it alone. A movie of several genres has the colour of its rarest one."
    figure = Figure("movie_map", "Movies by their vectors", caption, _chart(table), height=640, wide=True)
    return Section("map", "A map of movies", text, [figure])


def most_rated(catalogue: MovieCatalog, count: int) -> np.ndarray:
    """Rows of the most rated movies, int64, the most rated first."""
    order = np.argsort(-catalogue.counts, kind="stable")[:count]
    return order[catalogue.counts[order] > 0]


def projection(vectors: np.ndarray) -> np.ndarray:
    """From ``[movies, dim]`` to ``[movies, 2]``, the same in every call.

    Vectors are made equally long first: similar movies are those of the same direction (cosine).
    """
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    components = min(_COMPONENTS, *unit.shape)
    reduced = PCA(components, random_state=0).fit_transform(unit) if components < unit.shape[1] else unit
    perplexity = min(30.0, (len(unit) - 1) / 3)
    start = "random" if components < 2 else "pca"
    # Half the usual steps and a wider angle take a third of the time and keep as many neighbours (trustworthiness).
    tsne = TSNE(2, perplexity=perplexity, init=start, max_iter=500, angle=0.7, random_state=0)
    return tsne.fit_transform(reduced)


def leading_genres(genres: list[list[str]]) -> list[str] | None:
    """One genre for each movie: of those among the most frequent ones, its rarest. None where nobody knows any."""
    counts = Counter(name for names in genres for name in names)
    if not counts:
        return None
    known = dict(counts.most_common(_GENRES))
    return [min((name for name in names if name in known), key=known.get, default="other") for names in genres]


def _chart(table: pd.DataFrame) -> dict[str, Any]:
    import altair as alt

    axis = None
    base = alt.Chart(table).encode(
        x=alt.X("x:Q", axis=axis, scale=alt.Scale(zero=False, padding=14)),
        y=alt.Y("y:Q", axis=axis, scale=alt.Scale(zero=False, padding=14)),
        size=alt.Size("ratings:Q", scale=alt.Scale(type="sqrt", range=[12, 260]), legend=None),
        tooltip=[
            alt.Tooltip("title:N", title="movie"),
            *([alt.Tooltip("genres:N")] if "genre" in table else []),
            alt.Tooltip("ratings:Q", format=","),
        ],
    )
    # Without a key the wheel scrolls the page.
    zoom = alt.selection_interval(bind="scales", name="zoom", zoom="wheel![event.ctrlKey || event.metaKey]")
    if "genre" not in table:
        return finished(base.mark_circle(opacity=0.65).add_params(zoom))
    order = [name for name, _ in Counter(table["genre"]).most_common() if name != "other"]
    order += ["other"] if "other" in set(table["genre"]) else []
    pick = alt.selection_point(fields=["genre"], bind="legend", name="pick")
    legend = alt.Legend(orient="top", columns=alt.ExprRef("width > 700 ? 10 : 3"))
    chart = (
        base.mark_circle()
        .encode(
            color=alt.Color("genre:N", scale=alt.Scale(domain=order), legend=legend),
            opacity=alt.condition(pick, alt.value(0.75), alt.value(0.05)),
        )
        .add_params(zoom, pick)
    )
    return finished(chart)

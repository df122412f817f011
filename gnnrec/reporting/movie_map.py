"""A map of the movies, on which movies with similar vectors are close to each other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.reporting.charts import to_spec
from gnnrec.reporting.content import Figure, Section

#: Maximum number of movies on the map, the most rated ones.
MOST_MOVIES = 2000
#: Number of genres with a color.
_GENRES = 9
_COMPONENTS, _FEWEST = 30, 5


def movie_map(catalog: MovieCatalog, vectors: np.ndarray) -> Section | None:
    """Draws the map; returns None if there are too few movies, or too few directions of their vectors.

    Args:
        catalog: Movies and their numbers of ratings.
        vectors: float32 ``[movies, dim]``.
    """
    rows = most_rated(catalog, MOST_MOVIES)
    unit = unit_vectors(vectors[rows])
    # A map of a few directions shows nothing.
    if len(np.unique(unit.round(6), axis=0)) < _FEWEST:
        return None
    table = pd.DataFrame(projection(unit).round(2), columns=["x", "y"])
    table["title"] = [catalog.titles[row] for row in rows]
    table["genres"] = [", ".join(catalog.genres[row]) for row in rows]
    table["ratings"] = catalog.counts[rows]
    genre = leading_genres([catalog.genres[row] for row in rows])
    text = (
        f"The {len(rows):,} most rated movies, placed by PCA and t-SNE of their vectors. Close movies have "
        "similar vectors; distances between far points and the axes have no meaning. Larger points were rated more "
        "often."
    )
    caption = "Point at a movie for its title. Ctrl and the wheel zoom, dragging moves, a double click resets."
    if genre is not None:
        table["genre"] = genre
        caption += " Click a genre to see it alone. A movie of several genres has the color of the rarest."
    figure = Figure("movie_map", "Movies by their vectors", caption, _chart(table), height=640, wide=True)
    return Section("map", "A map of movies", text, [figure])


def most_rated(catalog: MovieCatalog, count: int) -> np.ndarray:
    """Returns the rows of the most rated movies, int64, in descending order."""
    order = np.argsort(-catalog.counts, kind="stable")[:count]
    return order[catalog.counts[order] > 0]


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors ``[movies, dim]`` to unit length, since cosine similarity is what counts; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, np.finfo(np.float32).tiny)


def projection(unit: np.ndarray) -> np.ndarray:
    """Projects unit vectors ``[movies, dim]`` to ``[movies, 2]``, deterministically."""
    components = min(_COMPONENTS, *unit.shape)
    reduced = PCA(components, random_state=0).fit_transform(unit) if components < unit.shape[1] else unit
    perplexity = min(30.0, (len(unit) - 1) / 3)
    start = "random" if components < 2 else "pca"
    # Half the default steps and a wider angle take a third of the time at the same trustworthiness.
    tsne = TSNE(2, perplexity=perplexity, init=start, max_iter=500, angle=0.7, random_state=0)
    return tsne.fit_transform(reduced)


def leading_genres(genres: list[list[str]]) -> list[str] | None:
    """Returns one genre for each movie, the rarest of its frequent genres; None without genres."""
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
    # Without a modifier key the wheel scrolls the page.
    zoom = alt.selection_interval(bind="scales", name="zoom", zoom="wheel![event.ctrlKey || event.metaKey]")
    if "genre" not in table:
        return to_spec(base.mark_circle(opacity=0.65).add_params(zoom))
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
    return to_spec(chart)

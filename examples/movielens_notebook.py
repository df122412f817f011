# %% [markdown]
# # From ratings to recommendations in a notebook
#
# Run it as a script, `python examples/movielens_notebook.py`, or open it as a notebook: editors show each `# %%` as a
# cell, and `jupytext --to ipynb examples/movielens_notebook.py` makes an `.ipynb` of it. It takes half a minute, writes
# to a temporary directory, and needs no download, since the ratings are generated.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import gnnrec
from gnnrec.data.synth import SynthOptions, synth

place = Path(tempfile.mkdtemp(prefix="gnnrec-notebook-"))

# %% [markdown]
# ## Ratings
#
# Any DataFrame works whose rows have a user, a movie, a rating and optionally a time. For MovieLens, omit this cell
# and call `gnnrec.prepare(place / "data", dataset="ml-latest-small")` in the next.

# %%
synth(place / "ratings", SynthOptions(users=400, movies=200, ratings=16_000, seed=1))
ratings = pd.read_csv(place / "ratings" / "ratings.csv")
movies = pd.read_csv(place / "ratings" / "movies.csv")
print(ratings.head())

# %% [markdown]
# Any table with a row for each movie or user gives the model features: here ages of users, and titles, years and genres
# of movies.

# %%
number = ratings["userId"].unique()
users = pd.DataFrame({"userId": number, "age": 18 + number % 60})
data = gnnrec.prepare(place / "data", ratings, movies=movies, movie_features=movies, user_features=users, test=0.1)
print(data)
for group in data.features("movie").schema:
    print(f"{group.name}: {group.kind}, {group.columns} columns")

# %% [markdown]
# ## Training
#
# Options are those of `train_dist.py`; sections of a configuration file are dictionaries. Ctrl-C (*interrupt kernel*)
# saves the run, and the same call with `resume="auto"` resumes it.

# %%
run = gnnrec.train(data, place / "run", model={"dim": 32}, loader={"folds": 10}, optimizer={"epochs": 12})

# %%
print(f"test RMSE {run.summary['test_rmse']:.4f} after epoch {run.summary['best_epoch']}")
print(pd.DataFrame(run.summary["baselines"]).T)

# %% [markdown]
# `run.metrics` has a row for each record. To plot it: `curve.plot()`.

# %%
curve = run.metrics.dropna(subset="validation_rmse").set_index("step")["validation_rmse"]
print(curve)

# %% [markdown]
# ## Recommendations

# %%
user = ratings["userId"].iloc[0]
liked = ratings[ratings["userId"] == user].nlargest(5, "rating").merge(movies, on="movieId")
print(liked[["title", "rating"]])
print(gnnrec.recommend(run, user, top=5))

# %%
all_users = gnnrec.recommend(run, top=3)
print(all_users.head(6))

# %% [markdown]
# A user who was not in training is embedded from ratings alone.

# %%
new = pd.DataFrame({"userId": "new", "movieId": liked["movieId"], "rating": liked["rating"]})
print(gnnrec.recommend(run, "new", ratings=new, top=5))

# %% [markdown]
# ## Movies and users that are new
#
# Movies without ratings are embedded from their features, as are users. `new_share` gives new movies a share of each
# list.

# %%
later = pd.DataFrame({"movieId": [9001, 9002], "title": ["Tomorrow (2030)", "Tonight (2031)"], "genres": "Drama"})
out = gnnrec.export(run, place / "export", movie_features=later)
print(gnnrec.recommend(out, user, top=5, new_movies=True, new_share=0.4))

# %%
stranger = pd.DataFrame({"userId": [1_000_000], "age": [33]})
print(gnnrec.recommend(run, 1_000_000, user_features=stranger, top=5))

# %% [markdown]
# What a column is worth: how much the error grows if its rows are shuffled.

# %%
print(pd.DataFrame(run.summary["feature_worth"]["movie"]).T)

# %% [markdown]
# ## Vectors

# %%
title = movies.set_index("movieId").loc[liked["movieId"].iloc[0], "title"]
print(gnnrec.similar(run, title, top=5))

# %%
vectors = gnnrec.embed(run)
predicted = vectors.users.loc[user] @ vectors.movies.T + vectors.movie_bias + vectors.user_bias[user] + vectors.offset
first = gnnrec.recommend(run, user, top=1).iloc[0]
scale = data.manifest.rating
np.testing.assert_allclose(predicted[first["movie"]].clip(scale["min"], scale["max"]), first["rating"], rtol=1e-4)
print(f"{vectors.users.shape[0]} users and {vectors.movies.shape[0]} movies, {vectors.users.shape[1]} numbers each")

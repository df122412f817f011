"""Why a movie has its score: an exact sum over the user's ratings, biases and constants."""

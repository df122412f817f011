"""Vectors of users from their ratings in NumPy, from the files of an export alone: no torch, numba or pandas."""

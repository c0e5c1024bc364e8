"""A run from its recipe to its results: what was asked for, where it is kept, how it is carried out."""

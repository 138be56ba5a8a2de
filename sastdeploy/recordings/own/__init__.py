"""A user's own recordings as a data set: a folder with class folders or a manifest, and what its dataset.yaml states.

The road: `layout` lists the recordings, `declaration` reads dataset.yaml, `scan` reads every file once and notes what it
is like, `split` draws the parts, `folder` puts them together as a `Dataset`; `description` says what was found.
"""

"""A data set by its name: one of the catalog, one of tonic's, or a folder of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from sastdeploy.errors import InputError
from sastdeploy.recordings.catalog import CATALOG, Dataset, catalogued, data_root, full_name
from sastdeploy.recordings.tonic_sets import PREFIX, tonic_folder


def dataset(name: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Dataset:
    """Return the facts about a data set of recordings: of the catalog, ``tonic:NAME``, or a folder of one's own by its path.

    Args:
        progress: called with (files read, files in all) where a folder's recordings are read for the first time.

    Raises:
        InputError: the name is unknown, the set holds images instead of recordings, or a folder is no data set.
    """
    if os.sep in full_name(name):
        # Loads Pydantic, which a data set of the catalog does not wait for.
        from sastdeploy.recordings.own.folder import open_folder

        return open_folder(name, progress).dataset
    if name.startswith(PREFIX):
        from sastdeploy.recordings.own.folder import open_folder

        folder = tonic_folder(name, data_root())
        if not os.path.isdir(folder):
            raise InputError(
                f"data set '{name}': is not at {folder}. Get it with 'sastdeploy data fetch {name}'."
            )
        return replace(open_folder(os.path.abspath(folder), progress).dataset, name=name)
    facts = catalogued(name)
    if facts.form == "images":
        raise InputError(
            f"data set '{name}': holds images, no recordings. Make recordings: {CATALOG['nmnist-sim'].install_command}."
        )
    return facts

"""Recordings of event cameras, from files to frames.

The road: `catalog` states each data set's facts and `download` fetches its files; one module per format (`nmnist`, `aedat2`,
`aedat31`, `prophesee`, `library_files`, `npy`, `tables`, `dvsgesture`) turns bytes into `events`; `reading` gives the segments of a data set or of one file;
`binning` counts events per bin, and `fast_binning` gives the same counts for N-MNIST's bytes; `frames` holds the counts;
`cache` keeps them on disk and `splits` divides them into training, validation and test. Beside the road: `check` reads a
data set from end to end, `describe` puts a recording into numbers, `corruption` and `corrupted_frames` make it worse.
"""

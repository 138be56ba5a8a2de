"""A program as C99 source: `export` writes the folder, `source` the text, `layers` the C of every kind, `tables` its constants."""

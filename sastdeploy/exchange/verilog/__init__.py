"""A program as Verilog: `export` writes the folder, `source` the core and its memories, `layers` the parameters of every kind."""

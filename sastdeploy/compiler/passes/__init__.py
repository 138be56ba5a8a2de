"""One file, one pass, one function of the same name: (Graph, HardwareProfile) -> Graph. `assemble` makes the Program."""

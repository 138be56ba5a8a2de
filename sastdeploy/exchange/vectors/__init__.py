"""A program's integers at every step, as files for whoever builds it in hardware."""

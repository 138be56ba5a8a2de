"""Many networks of one architecture, trained in one batched step: for GPUs, where one small network leaves the device idle."""

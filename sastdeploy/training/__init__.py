"""Training with surrogate spikes: surrogate, neuron, network, SAM, loop. The only folder with torch, checkpoint.py aside."""

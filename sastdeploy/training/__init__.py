"""Training with smooth spikes: surrogate, neuron, network, SAM, loop. The only folder with torch, checkpoint.py aside."""

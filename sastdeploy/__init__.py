"""From a trained spiking network to fixed-point hardware, and the truth about what arrives there."""

__version__ = "0.1.0"

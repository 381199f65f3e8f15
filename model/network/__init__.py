"""The network: backbone, prompt encoders, attention, and the decoders of both forms."""

"""The PhraseClick network and its predictor: arrays in, arrays out."""

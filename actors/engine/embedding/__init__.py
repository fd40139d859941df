"""Engines that make vectors of texts: no cache, no sampling, every request is one pass."""

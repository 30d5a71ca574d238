"""Training of networks on pairs whose true displacement is known."""

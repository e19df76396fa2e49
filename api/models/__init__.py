"""The seam to model providers: `base` is the contract, `registry` finds a client by the model's name."""

"""Carries out turns: claims one, rebuilds its prompt, calls the model, settles the price, publishes."""

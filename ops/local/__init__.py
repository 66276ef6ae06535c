"""The local stack: the whole service on one machine, with its Redis servers and a simulated provider."""

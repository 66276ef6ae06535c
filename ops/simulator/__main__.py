"""`python -m ops.simulator`."""

from ops.simulator.main import simulate

if __name__ == "__main__":
    simulate()

"""Questions about speed and memory; the answers lie in results/."""

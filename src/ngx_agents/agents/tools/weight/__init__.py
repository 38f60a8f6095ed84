"""Body weight over time: trend and chart."""

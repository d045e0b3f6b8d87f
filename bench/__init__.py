"""Speed against peers, side by side in one run: `make bench`. Ratios with their spread, never times alone."""

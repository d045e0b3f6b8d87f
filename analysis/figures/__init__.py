"""One module a figure: Info is what it shows, info computes it, draw puts it on axes, figure makes the whole."""

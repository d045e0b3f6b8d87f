"""One module a figure: Info holds its numbers, info computes them, draw puts them on axes, figure makes the whole.

figure(view) is None where the view has nothing for it. analysis/sections.py lists which figures the report shows.
"""

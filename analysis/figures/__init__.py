"""One module a figure: Info is what it shows, info computes it, draw puts it on axes, figure makes the whole.

figure(view) is None where the view has nothing for it. analysis/sections.py lists which figures the report shows.
"""

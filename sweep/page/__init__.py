"""A page that shows a store in a browser: served while a sweep runs, or frozen into one file."""

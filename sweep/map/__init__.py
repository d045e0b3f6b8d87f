"""The map: what accuracy to expect of networks that were not trained, and how sure that is."""

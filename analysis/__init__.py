"""Tables, figures and a report from the store of results; nothing is trained or changed."""

import sweep.store  # noqa: F401 # first, because sweep refuses another package of the name fire

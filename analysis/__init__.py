"""Tables, figures and a report from the store of results; nothing is trained or changed."""

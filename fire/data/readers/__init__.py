"""One module a data set, of the data set's name, with `read(spec, data_dir, out) -> fire.data.sources.Decoded`."""

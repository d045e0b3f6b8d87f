"""The SqueezeNet design space: metaparameters, costs, networks, data, training."""

"""From a trained network to ONNX files, in fp32 and int8, and what is measured of them. Needs the extra `export`."""

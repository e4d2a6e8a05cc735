"""JPEG: codecs, quantization tables and quantization maps."""

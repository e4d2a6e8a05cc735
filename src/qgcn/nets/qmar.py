"""QCN, the paper's network on pixels and quantization maps (section III-B)."""

from qgcn.nets import edsr


class Net(edsr.Net):
    """QCN: the restoration branch with quantization maps as further input channels (paper section III-B, Fig. 3).

    ``in_channel`` is 3 + 2 in colour and 1 + 1 in gray: pixels, then one map for each quantization table.
    """

"""The colour space of JPEG files (JFIF 1.02; ITU-T T.871, section 7)."""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G and B in Y

YCC = np.array([LUMA, ([0, 0, 1] - LUMA) / 1.772, ([1, 0, 0] - LUMA) / 1.402], np.float32)
"""Y, Cb - 128 and Cr - 128 of R, G and B on 0..255: a row each."""

RGB = np.linalg.inv(YCC.astype(np.float64)).astype(np.float32)  # the inverse of YCC

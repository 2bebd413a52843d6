from .integer import accumulate as accumulate
from .integer import affine as affine
from .integer import dequantize as dequantize
from .integer import fixed_point as fixed_point
from .integer import quantize as quantize
from .integer import requantize as requantize
from .integer import symmetric as symmetric

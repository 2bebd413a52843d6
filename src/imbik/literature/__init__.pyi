from .architectures import compare_architectures as compare_architectures
from .comparison import Architectures as Architectures
from .published import published as published

from .architectures import compare_architectures as compare_architectures
from .published import published as published

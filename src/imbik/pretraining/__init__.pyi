from .corpus import build_blocks as build_blocks
from .masking import Masker as Masker
from .masking import masked_output as masked_output

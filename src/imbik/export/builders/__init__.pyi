from .builder import EngineBuilder as EngineBuilder
from .builder import RunCode as RunCode
from .registry import buildable as buildable
from .registry import builder as builder
from .registry import builders as builders
from .registry import refusal as refusal
from .registry import register_builder as register_builder

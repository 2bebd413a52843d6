from .answering import Model as Model
from .run import Summary as Summary
from .run import predict_files as predict_files

from .contract import check_method as check_method
from .engines import check_engine as check_engine
from .tiny import WORDS as WORDS
from .tiny import tiny_bert as tiny_bert
from .tiny import tiny_context as tiny_context
from .tiny import tiny_splits as tiny_splits
from .tiny import tiny_tokenizer as tiny_tokenizer

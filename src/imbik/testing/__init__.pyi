from .contract import check_method as check_method
from .task_contract import check_task as check_task
from .task_examples import TaskExample as TaskExample
from .tiny import tiny_bert as tiny_bert
from .tiny import tiny_context as tiny_context
from .tiny import tiny_splits as tiny_splits
from .tiny import tiny_tokenizer as tiny_tokenizer

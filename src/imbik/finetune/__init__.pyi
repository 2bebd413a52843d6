from .classifier import finetune as finetune
from .mlm import finetune_mlm as finetune_mlm
from .results import Finetuned as Finetuned
from .results import FittedMlm as FittedMlm

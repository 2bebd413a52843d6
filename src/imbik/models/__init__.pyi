from .checkpoint import save_checkpoint as save_checkpoint
from .pretrained import load_base as load_base
from .pretrained import load_checkpoint as load_checkpoint
from .pretrained import load_masked_lm as load_masked_lm
from .teacher import Teacher as Teacher
from .teacher import averaged as averaged
from .teacher import load_teachers as load_teachers

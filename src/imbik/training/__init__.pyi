from .context import Context as Context
from .heads import Head as Head
from .heads import head_of as head_of
from .heads import register_head as register_head
from .loop import fit as fit
from .losses import distillation_loss as distillation_loss
from .losses import label_loss as label_loss
from .settings import Training as Training

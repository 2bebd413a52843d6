from .context import Context as Context
from .loop import fit as fit
from .losses import distillation_loss as distillation_loss
from .losses import label_loss as label_loss
from .settings import RunSettings as RunSettings
from .settings import Training as Training

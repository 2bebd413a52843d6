from .any_network import distill as distill
from .attention_losses import AttentionKL as AttentionKL
from .attention_losses import AttentionMSE as AttentionMSE
from .attention_losses import RelationKL as RelationKL
from .feature_losses import FeatureMoments as FeatureMoments
from .feature_losses import HiddenCosine as HiddenCosine
from .feature_losses import HiddenMSE as HiddenMSE
from .feature_losses import LogitsKL as LogitsKL

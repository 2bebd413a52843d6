from .any_network import distill as distill
from .feature_losses import AttentionKL as AttentionKL
from .feature_losses import AttentionMSE as AttentionMSE
from .feature_losses import FeatureMoments as FeatureMoments
from .feature_losses import HiddenCosine as HiddenCosine
from .feature_losses import HiddenMSE as HiddenMSE
from .feature_losses import LogitsKL as LogitsKL
from .feature_losses import RelationKL as RelationKL

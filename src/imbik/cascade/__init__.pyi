from .policy import Policy as Policy
from .policy import Target as Target
from .run import Abstain as Abstain
from .run import cascade as cascade

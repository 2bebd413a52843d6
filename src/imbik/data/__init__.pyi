from .bundled import bundled_base as bundled_base
from .bundled import bundled_data as bundled_data
from .columns import ColumnNames as ColumnNames
from .documents import open_documents as open_documents
from .evaluation import Evaluation as Evaluation
from .evaluation import load_evaluation as load_evaluation
from .load import load_data as load_data
from .load import load_texts as load_texts

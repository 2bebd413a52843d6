from .model import LinearModel as LinearModel
from .students import linear_student as linear_student
from .support import tfidf_svm as tfidf_svm

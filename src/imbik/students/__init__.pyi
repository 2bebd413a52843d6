from .catalogue import make_student as make_student
from .catalogue import student_names as student_names
from .layer_map import layer_map as layer_map

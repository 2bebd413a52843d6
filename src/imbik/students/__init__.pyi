from .catalogue import make_student as make_student
from .catalogue import parse_student as parse_student
from .catalogue import student_names as student_names
from .layer_map import layer_map as layer_map
from .spec import StudentPlan as StudentPlan
from .spec import StudentSpec as StudentSpec

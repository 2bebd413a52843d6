from .lesson import Lesson as Lesson
from .lesson import open_lesson as open_lesson
from .story import Story as Story
from .story import run_demo as run_demo

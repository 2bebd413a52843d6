from .write import Written as Written
from .write import write_page as write_page

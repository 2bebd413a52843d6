from .recipe import Recipe as Recipe
from .recipe import dump_recipe as dump_recipe
from .recipe import load_recipe as load_recipe
from .recipe import parse_recipe as parse_recipe
from .recipe import shipped as shipped

"""Networks from programs of `torch.export` (`.pt2`), without unpickling anything and without code of the file.

`torch.export.load` unpickles sample inputs and evaluates expressions that the file holds, so it is not used: the graph
is read as JSON and its operators, named ones of torch from a list, are run in their order, so the answers are those of
the program itself.
"""

from triggers.model.networks.exported_program.network import ExportedNetwork, load_exported
from triggers.model.networks.exported_program.program_description import ExportedDescription

__all__ = ["ExportedDescription", "ExportedNetwork", "load_exported"]

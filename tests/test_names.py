"""Names: a public one means one thing in the whole repository, and a module is named by the field's noun."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGES = ("fairtrigger", "service", "trainer", "triggers")
RETIRED = set(
    """
    accelerated access address admission assignment auth batch_decoder beacon bets blanks bounds brevity buckets
    call captured card change channel child collectors columns compared comparison contents control correlation
    counting deciding description device_bank door durable encoded event evidence example explanation
    file_batches file_item flips forward front full_weights garbage gpu_decoder guarded headers hot_path
    http_process identities index inference_process ink intake json_size keying learn leaving limits link links
    lookup names near noise outcome overlap parting parts passes patience periods places plan private_folder
    probe problems quantiles readout receipts recipe recording records redis_bus remote remote_queue replay
    request_key residency residents rows rules running runs safe_headers samples served serving shared_slots
    shortlist slots stamps stored_file tables tabulate tally taps tensors threads tickets timeline trainables
    verdict watch weight_learner whole_answer windows wire wording world
    """.split()
)
"""Names of modules that said too little."""
FREE = {"logger", "main", "train"}
"""Names that every module may have; `fairtrigger.train` is the trainer's `train`, for programs."""


def _modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted(Path(package).rglob("*.py"))]


def _public(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name for name in found if not name.startswith("_")} - FREE


def test_a_public_name_is_defined_once_outside_of_routes_and_commands() -> None:
    homes = defaultdict(list)
    for path in _modules():
        if not {"routes", "cli", "routes.py", "infer_route.py", "__main__.py"} & set(path.parts):
            for name in _public(path):
                homes[name].append(str(path))
    assert len(homes) > 1000
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_no_module_has_a_name_that_was_given_up() -> None:
    assert [str(path) for path in _modules() if path.stem in RETIRED] == []

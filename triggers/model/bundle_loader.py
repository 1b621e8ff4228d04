"""Bundles loaded as classifiers, each after its self-check (self_check.py)."""

from __future__ import annotations

from pathlib import Path

from triggers.allow_lists import AllowedHosts, Factories
from triggers.errors import ModelError
from triggers.model.bundle import build_network, read_spec
from triggers.model.classifier import FrozenClassifier
from triggers.model.endpoint import EndpointLoader
from triggers.model.self_check import LoadedBundle, run_checks
from triggers.model.text.tokenizer import load_tokenizer


def load_bundle(
    folder: Path | str,
    device: str = "cpu",
    factories: Factories | None = None,
    hosts: AllowedHosts | None = None,
    *,
    ask_endpoint: bool = True,
) -> FrozenClassifier:
    """Load a model bundle and check it.

    `factories` may build its network, `hosts` may be asked; default: those that the environment lists. Without
    `ask_endpoint` an endpoint is not asked for its canary: whoever uses it must `verify` it.

    Raises ModelError with a line for each fault, which names the model and what to mend.
    """
    bundle = read_bundle(folder, device, factories, hosts)
    if isinstance(bundle.classifier.spec.loader, EndpointLoader) and not ask_endpoint:
        return bundle.classifier
    if faults := [each.fault for each in run_checks(bundle) if each.fault]:
        raise ModelError("\n".join(f"{bundle.classifier.name!r}: {fault}" for fault in faults))
    return bundle.classifier


def read_bundle(
    folder: Path | str, device: str = "cpu", factories: Factories | None = None, hosts: AllowedHosts | None = None
) -> LoadedBundle:
    """A bundle that is not checked yet. Raises ModelError if it cannot be loaded at all."""
    folder = Path(folder)
    spec = read_spec(folder)
    if isinstance(spec.loader, EndpointLoader):
        from triggers.model.endpoint_classifier import load_endpoint

        return LoadedBundle(folder, load_endpoint(folder, spec, hosts))
    network, fault = build_network(folder, spec, Factories.of_environment() if factories is None else factories)
    if spec.text and not callable(getattr(network, "get_input_embeddings", None)):
        message = f"{spec.name!r}: {type(network).__name__} has no method get_input_embeddings()"
        raise ModelError(f"{message}, by which triggers enter a text network.")
    return LoadedBundle(folder, FrozenClassifier(spec, network, load_tokenizer(folder, spec), device), fault)

"""A network that is asked through a meter: every row counts, and an endpoint answers no row twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainer.queries.answer_store import AnswerStore, row_keys
from trainer.queries.query_meter import QueryMeter
from triggers.model import FrozenClassifier
from triggers.model.endpoint.endpoint_network import EndpointNetwork


class AskedNetwork(nn.Module):
    """The network of a model in memory, whose rows are counted."""

    def __init__(self, inner: nn.Module, meter: QueryMeter) -> None:
        super().__init__()
        self.inner, self.meter = inner, meter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's own answer. Raises BudgetSpent."""
        self.meter.take(len(args[0] if args else kwargs["inputs_embeds"]))
        return self.inner(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class AskedEndpoint(AskedNetwork):
    """An endpoint, whose different rows are counted and whose answers are kept."""

    def __init__(self, inner: EndpointNetwork, meter: QueryMeter, store: AnswerStore) -> None:
        super().__init__(inner, meter)
        self.store = store
        self._seen: set[bytes] = set()

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs (N, O) of rows; those not known yet are asked. Raises BudgetSpent, or as the endpoint does."""
        (rows,) = args
        keys = row_keys(rows)
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        self.meter.take(len(first.keys() - self._seen))
        self._seen |= first.keys()
        known = self.store.find(list(first))
        missing = sorted(place for key, place in first.items() if key not in known)
        for places, outputs in self._answers(rows, missing):
            asked = [keys[place] for place in places]
            self.store.keep(asked, outputs)
            known |= dict(zip(asked, outputs.cpu(), strict=True))
            self.meter.asked += len(asked)
        return torch.stack([known[key] for key in keys])

    def _answers(self, rows: Tensor | Sequence[str], places: Sequence[int]) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Ask rows at `places`, as many requests at a time as the endpoint takes.

        Where one fails no more are begun; those under way are waited for, since their answers may cost, and it raises.
        """
        loader = cast(EndpointNetwork, self.inner).loader
        parts = [places[start : start + loader.max_batch] for start in range(0, len(places), loader.max_batch)]

        def ask(part: Sequence[int]) -> Tensor:
            chosen = rows[torch.tensor(part)] if isinstance(rows, Tensor) else [rows[place] for place in part]
            with torch.inference_mode():
                found: Tensor = self.inner(chosen)
            return found.clone()

        with ThreadPoolExecutor(loader.concurrency) as pool:
            asked = {pool.submit(ask, part): part for part in parts}
            failed: BaseException | None = None
            for future in as_completed(asked):
                if future.cancelled():
                    continue
                if error := future.exception():
                    failed = failed or error
                    for other in asked:
                        other.cancel()
                else:
                    yield asked[future], future.result()
            if failed:
                raise failed


def ask_through(classifier: FrozenClassifier, meter: QueryMeter, store: AnswerStore | None) -> FrozenClassifier:
    """The classifier, asked through a meter; with a store of answers, which an endpoint needs."""
    network = classifier.network
    if isinstance(network, EndpointNetwork):
        assert store
        return classifier.with_network(AskedEndpoint(network, meter, store))
    fast = classifier.accelerated() if classifier.device.type == "cuda" or classifier.is_widened else classifier
    return fast.with_network(AskedNetwork(fast.network, meter))


def meter_of(classifier: FrozenClassifier) -> QueryMeter | None:
    """The meter that a classifier is asked through."""
    return classifier.network.meter if isinstance(classifier.network, AskedNetwork) else None


@contextmanager
def asked_for(classifier: FrozenClassifier, purpose: str) -> Iterator[None]:
    """Spend what the block asks of a metered classifier on a purpose; others are simply asked."""
    meter = meter_of(classifier)
    if meter is None:
        yield
        return
    with meter.asking_for(purpose):
        yield

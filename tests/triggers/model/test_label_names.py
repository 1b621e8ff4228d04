"""Labels of a bundle against the names in the network's own config."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import BertConfig

from triggers.model.head import ExpectedValueHead, Head, MultiLabelHead, SigmoidHead, SoftmaxHead
from triggers.model.label_names import check_labels

SIX = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
TOXIC, INSULT = (MultiLabelHead(outputs=6, index=index) for index in (0, 4))


def config(*names: str, task: Any = None) -> BertConfig:
    return BertConfig(id2label=dict(enumerate(names)), problem_type=task)


@pytest.mark.parametrize(
    ("given", "labels", "head"),
    [
        (config("NEGATIVE", "POSITIVE"), ("negative", "positive"), SoftmaxHead()),
        (config("NEGATIVE", "POSITIVE"), ("bad", "good"), SoftmaxHead()),
        (config("LABEL_0", "LABEL_1"), ("b", "a"), SoftmaxHead()),
        (config("LABEL_0", "LABEL_1"), ("LABEL_1", "LABEL_0"), SoftmaxHead()),
        (BertConfig(), ("civil", "toxic"), SoftmaxHead()),
        (config("civil", "civil"), ("civil", "toxic"), SoftmaxHead()),
        (config("toxic"), ("civil", "toxic"), SigmoidHead()),
        (config(*SIX, task="multi_label_classification"), ("civil", "toxic"), TOXIC),
        (config(*SIX, task="multi_label_classification"), ("not insult", "insult"), INSULT),
        (config("0-2", "3-9"), ("3-9", "0-2"), ExpectedValueHead(values=(1, 6), cut=3)),
        (object(), ("civil", "toxic"), SoftmaxHead()),
    ],
)
def test_labels_that_fit_have_no_fault(given: Any, labels: tuple[str, ...], head: Head) -> None:
    assert check_labels(given, labels, head) is None


@pytest.mark.parametrize(
    ("given", "labels", "head", "fault"),
    [
        (config("NEGATIVE", "POSITIVE"), ("positive", "negative"), SoftmaxHead(), "'positive' stands for output 0"),
        (config("a", "b", "c"), ("c", "b", "a"), SoftmaxHead(), "'c' stands for output 0"),
        (config("non-toxic", "toxic"), ("Toxic", "civil"), SoftmaxHead(), "'Toxic' stands for output 0"),
        (config("toxic"), ("toxic", "civil"), SigmoidHead(), "'toxic' stands for an output that none has"),
        (config("toxic"), ("toxic", "civil"), SoftmaxHead(), "'toxic' stands for an output that none has"),
        (config(*SIX), ("civil", "toxic"), INSULT, "'toxic' stands for output 4"),
        (config(*SIX), ("identity hate", "toxic"), TOXIC, "'identity hate' stands for an output that none has"),
        (config("x", task="regression"), ("a", "b"), SigmoidHead(), "regression"),
        (config("a", "b", task="single_label_classification"), ("a", "b"), TOXIC, '{"kind": "softmax"}'),
    ],
)
def test_a_name_at_another_output_and_a_head_of_another_task_are_faults(
    given: Any, labels: tuple[str, ...], head: Head, fault: str
) -> None:
    found = check_labels(given, labels, head)
    assert found and fault in found and "\n" not in found


@pytest.mark.parametrize(("labels", "index"), [(("civil", "insult"), "4"), (("no", "yes"), "N")])
def test_several_sigmoids_under_a_softmax_are_told_what_to_write(labels: tuple[str, ...], index: str) -> None:
    found = check_labels(config(*SIX, task="multi_label_classification"), labels, SoftmaxHead())
    assert (
        found and f'"head": {{"kind": "multi_label", "outputs": 6, "index": {index}}}' in found and "4 insult" in found
    )

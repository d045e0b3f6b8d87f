"""bench.nncodec_files with an NNCodec that copies: what it is called with, what trains, which images are seen.

NNCodec itself is not needed. Its parameters are those that version 2.1.3 has in nncodec/nnc/compression.py,
framework/applications/utils/sparsification.py and framework/use_case_init/__init__.py.
"""

import importlib.util
import pickle
import sys
from dataclasses import replace
from inspect import Parameter, Signature
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.nncodec_search import Settings
from fire.data.batches import Batches
from fire.model import build, fold
from fire.train.evaluation import evaluate
from fire.train.spec import TrainSpec

RECIPE = TrainSpec(batch_size=64)
PLAIN, TRAINED = Settings(qp=-30), Settings(qp=-30, epochs=1)

# Of both compress and compress_model.
SHARED = (
    "bitstream_path qp qp_density nonweight_qp qp_per_tensor use_dq codebook_mode scan_order lambda_scale param_opt "
    "cabac_unary_length_minus1 opt_qp ioq bnf lsa fine_tune row_skipping tca block_id_and_param_type model_executer "
    "verbose return_bitstream wandb_logging approx_param_base device_id int_quant_bw"
)
# The first of each must be given.
PARAMETERS = {
    "compress": f"parameter_dict {SHARED} hdsp_tool pre_signalling model bnf_mapping update_base_param "
    "compress_differences quantize_only",
    "compress_model": f"model_path_or_object {SHARED} model_name model_struct dataset_path use_case learning_rate "
    "batch_size epochs max_batches num_workers return_model_data",
    "decompress": "bitstream_or_path block_id_and_param_type return_model_information return_hls verbose "
    "reconstruct_lsa reconstruct_bnf approx_param_base update_base_param hdsp_tool internal_states_path",
    "apply_unstruct_spars_v2": "qp model_param_diff target_sparsity qp_density",
}
# What NNCodec reads of a use case: the fields of ModelSetting but for dataset and train_cf, which its methods use.
USE_CASE = ("model_transform", "evaluate", "train", "criterion")


class Codec:
    """Files are pickles of the tensors that they were made of. Training adds 1 to every tensor.

    calls: the arguments by name of each call, by function. seen: the labels of each loader that a training was given.
    """

    def __init__(self) -> None:
        self.calls: dict[str, list[dict[str, Any]]] = {name: [] for name in PARAMETERS}
        self.contents: list[bytearray] = []
        self.seen: dict[str, list[int]] = {}
        self.use_cases: dict[str, Any] = {}

    def _bound(self, function: str, positional: tuple[Any, ...], named: dict[str, Any]) -> SimpleNamespace:
        """The arguments. Raises TypeError if the function has no such parameters."""
        first, *others = PARAMETERS[function].split()
        kind = Parameter.POSITIONAL_OR_KEYWORD
        parameters = [Parameter(first, kind), *(Parameter(name, kind, default=None) for name in others)]
        bound = Signature(parameters).bind(*positional, **named)
        self.calls[function].append(bound.arguments)
        bound.apply_defaults()
        return SimpleNamespace(**bound.arguments)

    def compress(self, *positional, **named) -> bytearray:
        given = self._bound("compress", positional, named)
        assert (given.return_bitstream, given.bitstream_path) == (True, None), "no file in the working directory"
        self.contents.append(bytearray(pickle.dumps(given.parameter_dict)))
        return self.contents[-1]

    def compress_model(self, *positional, **named) -> tuple[bytearray, str]:
        given = self._bound("compress_model", positional, named)
        assert (given.return_bitstream, given.return_model_data, given.bitstream_path) == (True, True, None)
        case = self.use_cases[given.use_case]
        assert all(hasattr(case, name) for name in USE_CASE)
        workers = 8  # its default; it gives all three by position
        _, test = case.init_test(given.dataset_path, given.batch_size, workers)
        _, validation = case.init_validation(given.dataset_path, given.batch_size, workers)
        train = case.init_training(given.dataset_path, given.batch_size, workers)
        loaders = {"test": test, "validation": validation, "train": train}
        self.seen = {name: torch.cat([labels for _, labels in loader]).tolist() for name, loader in loaders.items()}
        network = given.model_path_or_object
        for values in network.parameters():
            values.requires_grad = False
            values += 1
        tensors = {name: values.numpy() for name, values in network.state_dict().items()}
        if given.lsa:
            tensors["conv1.weight_scaling"] = np.ones(32, np.float32)
        return bytearray(pickle.dumps(tensors)), "blocks"

    def decompress(self, *positional, **named) -> dict[str, np.ndarray]:
        given = self._bound("decompress", positional, named)
        assert isinstance(given.bitstream_or_path, bytearray), "anything else is taken for a path"
        return pickle.loads(given.bitstream_or_path)

    def apply_unstruct_spars_v2(self, *positional, **named) -> dict[str, np.ndarray]:
        """The first part of each tensor is made zero."""
        given = self._bound("apply_unstruct_spars_v2", positional, named)
        cut = {name: values.copy() for name, values in given.model_param_diff.items()}
        for values in cut.values():
            values.reshape(-1)[: round(given.target_sparsity * values.size)] = 0
        return cut

    def modules(self) -> dict[str, ModuleType]:
        """What `import` finds."""
        utils = "nncodec.framework.applications.utils"
        contents = {
            "nncodec": {},
            "nncodec.nnc": {name: getattr(self, name) for name in ("compress", "compress_model", "decompress")},
            "nncodec.framework": {},
            "nncodec.framework.applications": {},
            utils: {},
            f"{utils}.evaluation": {"evaluate_classification_model": print},
            f"{utils}.sparsification": {"apply_unstruct_spars_v2": self.apply_unstruct_spars_v2},
            f"{utils}.train": {"train_classification_model": print},
            "nncodec.framework.use_case_init": {"use_cases": self.use_cases},
        }
        made = {name: ModuleType(name) for name in contents}
        for name, module in made.items():
            vars(module).update(contents[name])
            parent, _, own = name.rpartition(".")
            if parent:
                setattr(made[parent], own, module)
        return made


@pytest.fixture
def codec() -> Codec:
    return Codec()


@pytest.fixture
def files(codec, monkeypatch) -> ModuleType:
    """bench.nncodec_files, imported beside the codec."""
    for name, module in codec.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("importlib.metadata.version", {"nncodec": "2.1.3"}.__getitem__)
    monkeypatch.setattr(torch, "__version__", "2.9.0+cpu")
    spec = importlib.util.find_spec("bench.nncodec_files")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(narrow) -> nn.Module:
    """A network without norms, as files of weights hold it."""
    return fold(build(replace(narrow, conv1=32), channels=1).eval())


@pytest.fixture
def subject(files, network, digits):
    return files.Subject(network=network, images=digits, recipe=RECIPE)


def numbered(files, data_set_of, cpu, size: int, shuffled: bool):
    """A loader of ten images, whose labels are 0 to 9."""
    data = data_set_of(np.zeros((10, 1, 8, 8), np.uint8), range(10))
    return files.Loader(Batches(data.train, data, RECIPE, cpu), size, shuffled)


def labels_of(loader) -> list[list[int]]:
    return [labels.tolist() for _, labels in loader]


def test_nncodec_reads_three_whole_numbers_of_torch_s_version(files):
    assert [int(part) for part in torch.__version__.split(".")] == [2, 9, 0]


@pytest.mark.parametrize(("size", "batches"), [(1, 10), (4, 3), (5, 2), (10, 1), (16, 1)])
def test_a_loader_in_order_has_each_image_once(files, data_set_of, cpu, size, batches):
    loader = numbered(files, data_set_of, cpu, size, shuffled=False)
    assert len(loader) == len(labels_of(loader)) == batches
    assert [label for batch in labels_of(loader) for label in batch] == list(range(10))
    assert labels_of(loader) == labels_of(loader)


@pytest.mark.parametrize(("size", "batches"), [(1, 10), (4, 2), (5, 2), (10, 1), (16, 1)])
def test_a_shuffled_loader_has_whole_batches_and_another_order_each_pass(files, data_set_of, cpu, size, batches):
    loader, other = (numbered(files, data_set_of, cpu, size, shuffled=True) for _ in range(2))
    first = labels_of(loader)
    assert len(loader) == len(first) == batches
    assert len({label for batch in first for label in batch}) == min(10, size * batches), "none twice"
    assert labels_of(loader) != first
    assert labels_of(other) == first


def test_a_file_is_scored_as_the_network_that_it_decodes_to(subject, codec, network, digits, cpu):
    made = subject.file(PLAIN)
    scores = [
        evaluate(network, Batches(part, digits, RECIPE, cpu), cpu).top1 for part in (digits.validation, digits.test)
    ]
    assert [made.validation_top1, subject.test_top1(PLAIN)] == scores
    assert made.top1 is None, "not before it is chosen"
    assert scores[0] != scores[1], "else they could be exchanged"
    assert (made.made_by, made.size) == (PLAIN, len(codec.contents[-1]))


@pytest.mark.parametrize("settings", [PLAIN, TRAINED, replace(TRAINED, lsa=True, sparsity=0.5)], ids=str)
def test_the_network_is_left_as_it_was(subject, network, settings):
    before = {name: values.clone() for name, values in network.state_dict().items()}
    subject.file(settings)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert all(values.requires_grad for values in network.parameters())


@pytest.mark.parametrize("change", [{}, {"nonweight_qp": -36}, {"row_skipping": True}], ids=str)
def test_settings_that_only_change_how_biases_are_coded_train_once(subject, codec, change):
    for settings in (TRAINED, replace(TRAINED, **change)):
        subject.file(settings)
        assert codec.calls["compress"][-1]["nonweight_qp"] == settings.nonweight_qp
        assert codec.calls["compress"][-1]["row_skipping"] == settings.row_skipping
    assert len(codec.calls["compress_model"]) == 1


@pytest.mark.parametrize(
    "change",
    [{"qp": -29}, {"opt_qp": True}, {"use_dq": False}, {"sparsity": 0.3}, {"lsa": True}, {"epochs": 2}],
    ids=str,
)
def test_other_settings_train_again(subject, codec, change):
    subject.file(TRAINED)
    subject.file(replace(TRAINED, **change))
    first, second = codec.calls["compress_model"]
    for name in change.keys() & {"qp", "opt_qp", "use_dq", "lsa", "epochs"}:
        assert (first[name], second[name]) == (getattr(TRAINED, name), change[name])


def test_biases_and_scales_come_from_the_training_and_weights_do_not(subject, codec, network):
    subject.file(replace(TRAINED, lsa=True))
    coded = codec.calls["compress"][-1]
    own = {name: values.numpy() for name, values in network.state_dict().items()}
    assert coded["block_id_and_param_type"] == "blocks"
    assert set(coded["parameter_dict"]) == {*own, "conv1.weight_scaling"}
    assert {values.ndim for values in own.values()} == {1, 4}
    for name, values in own.items():
        expected = values + 1 if values.ndim == 1 else values
        np.testing.assert_array_equal(coded["parameter_dict"][name], expected)


def test_what_is_made_zero_is_so_in_the_training_and_in_the_file(subject, codec):
    subject.file(replace(TRAINED, sparsity=0.5))
    cut = codec.calls["apply_unstruct_spars_v2"][-1]
    assert (cut["qp"], cut["target_sparsity"]) == (-30, 0.5)
    coded = codec.calls["compress"][-1]["parameter_dict"]
    trained = codec.calls["compress_model"][-1]["model_path_or_object"].state_dict()
    for name, values in coded.items():
        if values.ndim > 1:
            assert not values.reshape(-1)[: values.size // 2].any()
            np.testing.assert_array_equal(trained[name].numpy(), values + 1)


def test_no_training_sees_the_test_images(subject, codec, digits):
    subject.file(TRAINED)
    validation, test = (part.labels[part.rows].tolist() for part in (digits.validation, digits.test))
    assert codec.seen["test"] == codec.seen["validation"] == validation
    assert len(test) > len(validation) == 200
    assert test[:200] != validation
    assert len(codec.seen["train"]) == len(digits.train) // RECIPE.batch_size * RECIPE.batch_size


def test_every_function_is_called_with_parameters_that_it_has(subject, codec):
    subject.file(replace(TRAINED, sparsity=0.5, lsa=True))  # an unknown one is a TypeError
    assert [len(codec.calls[name]) for name in PARAMETERS] == [1, 1, 2, 1]

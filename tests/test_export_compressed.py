"""What python -m sweep.export writes of a compressed run is the compressed network, as its file decodes."""

import numpy as np
import onnxruntime
import pytest
import torch

from fire.data.batches import Batches
from fire.train.spec import TrainSpec
from fire.weights import fcn, pretrained
from sweep.export import _main as export_command
from sweep.run import run
from sweep.store import COMPRESSED, ONNX, WEIGHTS
from tests.sweeping import TINY, launch

COMPRESS = ("compress=deep_compression", "compress.epochs=1", "compress.final_epochs=0", "compress.density=0.5")
IMAGES = 100


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A finished run of a compressed network."""
    root = tmp_path_factory.mktemp("compressed")
    made = launch(*TINY, "train.epochs=1", *COMPRESS, f"data_dir={root}/data", f"results_dir={root}/results")
    assert run(*made).status == "finished"
    return made


@pytest.fixture(scope="module")
def images(compressed, digits, cpu) -> torch.Tensor:
    """Test images of the digits, as the network wants them."""
    assert digits.spec == compressed.config.data
    found, _ = next(Batches(digits.test, digits, TrainSpec(), cpu).in_order(IMAGES))
    return found.contiguous()


def of_onnx(path, images: torch.Tensor) -> np.ndarray:
    """ONNX Runtime's logits, one image after the other."""
    session = onnxruntime.InferenceSession(path)
    (name,) = (each.name for each in session.get_inputs())
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in images.numpy()])


@torch.no_grad()
def of_torch(network: torch.nn.Module, images: torch.Tensor) -> np.ndarray:
    return network.eval()(images).numpy()


@pytest.mark.parametrize("given", ["the run", "its file"])
def test_the_compressed_network_is_exported(compressed, images, given, tmp_path, capsys):
    file, data_dir = compressed.folder / COMPRESSED, f"data_dir={compressed.options.data_dir}"
    arguments = [str(compressed.folder)] if given == "the run" else [str(file), "data=digits"]
    export_command([*arguments, "--out", str(tmp_path), data_dir])
    (path,) = tmp_path.iterdir()
    assert path.name == ONNX
    found = of_onnx(path, images)
    np.testing.assert_allclose(found, of_torch(fcn.load(file).network(), images), atol=1e-4, rtol=0)
    uncompressed = pretrained.read(compressed.uncompressed.folder / WEIGHTS).network
    assert np.abs(found - of_torch(uncompressed, images)).max(axis=1).min() > 1e-2, "of every image"
    top1 = compressed.store.read(compressed.config.key).top1
    assert f"test top-1 {100 * top1:.2f} %" in capsys.readouterr().out


def test_the_record_has_the_onnx_file_s_accuracy_beside_that_of_the_compressed_file(compressed):
    export_command([str(compressed.folder), f"data_dir={compressed.options.data_dir}"])
    record = compressed.store.read(compressed.config.key)
    assert record.onnx_bytes == (compressed.folder / ONNX).stat().st_size
    assert record.onnx_top1 == record.top1
    assert record.onnx_loss == pytest.approx(record.loss, abs=1e-5)
    before = compressed.store.read(compressed.uncompressed.config.key)
    assert (before.onnx_bytes, before.onnx_top1) == (None, None), "nothing of the run that was compressed"

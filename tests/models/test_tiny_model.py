"""The tiny model: open_clip loads it, both towers work, it has learnt something, and damage is noticed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from clipbench.data.painted import SUBSETS
from clipbench.errors import UserError
from clipbench.models import tiny
from tools.pretrain_tiny import zero_shot

open_clip = pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def model():
    return tiny.load_tiny()


@pytest.fixture
def copy(tmp_path):
    for path in (tiny.tiny_weights_path(), tiny.tiny_provenance_path()):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_open_clip_loads_the_configuration(model):
    open_clip.add_model_config(tiny.tiny_config_path())
    fresh = open_clip.create_model(tiny.NAME)
    assert type(fresh) is type(model) is open_clip.CLIP
    assert {name: value.shape for name, value in fresh.state_dict().items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


def test_both_towers_give_finite_unit_features(model):
    with torch.inference_mode():
        image = model.encode_image(torch.randn(3, 3, 64, 64), normalize=True)
        text = model.encode_text(open_clip.tokenize(["a photo of a river.", "a zebra"]), normalize=True)
    for features in (image, text):
        assert features.shape[1] == 96
        assert features.isfinite().all()
        torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))


def test_the_model_is_frozen_in_evaluation_mode_and_single_precision(model):
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_loading_twice_gives_the_same_numbers_and_leaves_torch_s_random_state_alone(model):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    again = tiny.load_tiny()
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("dataset", ["caltech101", "eurosat", "mini_domainnet"])
def test_zero_shot_is_above_chance_and_below_perfect(model, dataset):
    subset = SUBSETS[dataset]
    found = zero_shot(model, replace(subset, classes=subset.classes[:12]), "real" if subset.domains else "")
    assert 2 * 100 / min(12, len(subset.classes)) < found < 95


def test_the_provenance_says_how_well_the_model_does():
    provenance = json.loads(tiny.tiny_provenance_path().read_text())
    found = zero_shot(tiny.load_tiny(), SUBSETS["flowers102"])
    assert found == pytest.approx(provenance["zero_shot_accuracy"]["flowers102"], abs=3)  # 72 images: two may flip


def test_files_are_small_and_the_provenance_names_the_command():
    assert tiny.tiny_weights_path().stat().st_size < 4e6
    provenance = json.loads(tiny.tiny_provenance_path().read_text())
    assert provenance["sha256"] == tiny.tiny_weights_digest()
    assert f"--seed {provenance['seed']}" in provenance["command"]
    assert {"torch", "open_clip", "date", "commit", "zero_shot_accuracy"} <= provenance.keys()


def test_a_truncated_file_is_refused(copy):
    path = tiny.tiny_weights_path(copy)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="torn or altered"):
        tiny.load_tiny(folder=copy)


def test_an_altered_file_is_refused(copy):
    path = tiny.tiny_weights_path(copy)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="torn or altered"):
        tiny.load_tiny(folder=copy)


def test_a_missing_file_is_refused(copy):
    tiny.tiny_weights_path(copy).unlink()
    with pytest.raises(UserError, match="incomplete"):
        tiny.load_tiny(folder=copy)


def test_saving_and_loading_restores_the_model(model, tmp_path):
    from clipbench.models.tiny.weights import load_weights, new_model, save_weights

    trained = sorted(set(open_clip.tokenize(["a photo of a river."]).flatten().tolist()))
    save_weights(model, trained, tmp_path / "w.safetensors")
    restored = new_model()
    load_weights(restored, tmp_path / "w.safetensors")
    tokens = open_clip.tokenize(["a photo of a river."])
    with torch.inference_mode():
        torch.testing.assert_close(restored.encode_text(tokens), model.encode_text(tokens))

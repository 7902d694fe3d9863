import math
import string

import pytest
import torch
from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel
from tests.distill.tiny_pipelines import save_tiny
from torch import nn
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.distill.mesh.guide import Guide
from edgekit.distill.render.views import cameras_at
from edgekit.distill.teachers.views.guide import load_guide
from edgekit.distill.teachers.views.pipeline_guide import (
    VIEWS,
    PipelineGuide,
    camera_matrices,
    view_of,
)


def cameras(*degrees: tuple[float, float]):
    yaw, pitch = torch.tensor(degrees).deg2rad().unbind(1)
    return cameras_at(yaw, pitch)


@pytest.fixture(scope="module")
def stable(tmp_path_factory) -> PipelineGuide:
    folder = tmp_path_factory.mktemp("sd") / "tiny"
    return load_guide(str(save_tiny("StableDiffusionPipeline", folder)))


@pytest.fixture(scope="module")
def floyd_folder(tmp_path_factory):
    """A tiny DeepFloyd-IF: pixels, T5, six channels of which three are variances."""
    torch.manual_seed(0)  # the constructors of diffusers draw from the global generator only
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in string.ascii_lowercase + ", "]
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=3,
        out_channels=6,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=16,
    )
    folder = tmp_path_factory.mktemp("if") / "tiny"
    IFPipeline(
        tokenizer=T5Tokenizer(pieces, extra_ids=4, model_max_length=40),
        text_encoder=T5EncoderModel(
            T5Config(vocab_size=160, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        ),
        unet=unet,
        scheduler=DDPMScheduler(variance_type="learned_range"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def test_cameras_are_named_by_the_side_that_they_see():
    where = cameras((0, 10), (-40, 0), (90, 10), (260, 0), (180, 20), (10, 70))

    named = [VIEWS[n].split()[0] for n in view_of(where).tolist()]

    assert named == ["front", "front", "side", "side", "back", "overhead"]


def test_stable_diffusion_is_told_the_view_in_words(stable):
    text = stable.encode(["mak a", ""])
    noisy = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    step = torch.tensor([300, 300])

    found = stable.noise(noisy, step, text, cameras((180, 0), (0, 0)))

    said = stable._tokenizer(
        ["mak a, back view", ""], padding="max_length", max_length=16, return_tensors="pt"
    )
    states = stable._text_encoder(said.input_ids)[0]
    assert isinstance(stable, Guide)
    assert text.shape == (2, 4 * 16, 16)
    assert torch.allclose(found, stable._unet(noisy, step, states, return_dict=False)[0], atol=1e-6)
    front = stable.noise(noisy, step, text, cameras((0, 0), (90, 0)))
    assert not torch.equal(front[0], found[0])
    assert torch.equal(front[1], found[1])


def test_gradients_reach_pictures_through_the_autoencoder(stable):
    pictures = torch.zeros(1, 3, stable.size_px, stable.size_px, requires_grad=True)

    stable.latents(pictures).square().sum().backward()

    assert stable.size_px == 32
    assert pictures.grad.abs().sum() > 0


def test_deepfloyd_works_on_pixels_and_its_variances_are_dropped(floyd_folder):
    guide = load_guide(str(floyd_folder))
    noisy = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    text, step = guide.encode(["a cone"]), torch.tensor([500])

    found = guide.noise(noisy, step, text, cameras((90, 0)))

    side = text.view(1, 4, -1, 16)[:, 1]
    whole = guide._unet(noisy, step, side, return_dict=False)[0]
    assert guide.size_px == 16
    assert guide.latents(noisy) is noisy
    assert whole.shape[1] == 6
    assert torch.allclose(found, whole[:, :3], atol=1e-6)


def test_a_velocity_is_turned_into_noise(stable):
    guide = PipelineGuide.__new__(PipelineGuide)
    for name, value in vars(stable).items():
        setattr(guide, name, value)
    guide._velocity = True
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    text, step = guide.encode(["mak"]), torch.tensor([200])

    found = guide.noise(noisy, step, text, cameras((0, 0)))

    share = stable.alphas[200]
    velocity = stable.noise(noisy, step, text, cameras((0, 0)))
    assert torch.allclose(found, share.sqrt() * velocity + (1 - share).sqrt() * noisy, atol=1e-6)


class CameraUnet(nn.Module):
    """A U-Net with the parameters of MVDream's port, which says what it was given."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, config):
        super().__init__()
        self.config, self.weight = config, nn.Parameter(torch.ones(()))

    def forward(self, x, timesteps, context, num_frames, camera):
        assert num_frames == 1
        return x * 0 + camera[:, 3, None, None, None] + context.mean((1, 2))[:, None, None, None]


class WithCameras:
    """Another pipeline's parts around a U-Net that takes cameras."""

    def __init__(self, guide, scheduler):
        self.unet = CameraUnet(guide._unet.config)
        self.vae, self.scheduler = guide._vae, scheduler
        self.tokenizer, self.text_encoder = guide._tokenizer, guide._text_encoder


def test_a_network_that_takes_cameras_gets_matrices_and_plain_words(stable):
    guide = PipelineGuide(WithCameras(stable, DDPMScheduler()), identity="mv")
    text = guide.encode(["mak"])

    found = guide.noise(torch.zeros(1, 4, 16, 16), torch.tensor([1]), text, cameras((90, 0)))

    assert text.shape == (1, 16, 16)
    assert torch.allclose(found - text.mean(), torch.ones(1, 4, 16, 16), atol=1e-5)


def test_camera_matrices_are_turns_with_z_up_at_distance_one():
    matrices = camera_matrices(cameras((0, 0), (90, 0), (0, 45))).view(3, 4, 4)

    half = math.sqrt(0.5)
    assert matrices[0, :3, 3].tolist() == pytest.approx([0, -1, 0], abs=1e-6)
    assert matrices[1, :3, 3].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert matrices[2, :3, 3].tolist() == pytest.approx([0, -half, half], abs=1e-6)
    assert torch.allclose(torch.linalg.det(matrices[:, :3, :3]), torch.ones(3))


def test_a_pipeline_that_edits_photos_is_no_guide(tmp_path):
    folder = save_tiny("StableDiffusionInstructPix2PixPipeline", tmp_path / "edits")

    with pytest.raises(EdgekitError, match="text-to-image"):
        load_guide(str(folder))


def test_a_folder_without_weights_is_refused(floyd_folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(floyd_folder, copy)
    shutil.rmtree(copy / "unet")

    with pytest.raises(BadInput, match="unet"):
        load_guide(str(copy))
    with pytest.raises(BadInput, match="does not exist"):
        load_guide(str(tmp_path / "nothing"))


def test_a_guide_is_known_by_the_bytes_of_its_weights(floyd_folder):
    first, again = load_guide(str(floyd_folder)), load_guide(str(floyd_folder))

    assert first.identity == again.identity
    assert first.identity.startswith("tiny@")

import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.networks.flops import count_flops
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec

SPECS = [
    PSPNetSpec("resnet18", 3, 6),
    PSPNetSpec("resnet50", 4, 2, output_stride=16, stem="v1c", head="smp"),
    PSPNetSpec("mobilenet_v2", 3, 6, output_stride=32),
    PSPNetSpec("vgg16_bn", 1, 3),
    PSPNetSpec("efficientnet_lite0", 3, 6),
    PSPNetSpec("efficientnet_lite1_symmetric", 3, 6, output_stride=16),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.backbone)
def test_flop_are_those_that_torch_counts(spec):
    with torch.device("meta"):
        network, image = PSPNet(spec).eval(), torch.empty(1, spec.in_channels, 97, 130)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    assert count_flops(spec, (97, 130)) == counter.get_total_flops()


def test_flop_are_those_of_the_published_table():
    mmseg = PSPNetSpec("resnet50", 3, 21, stem="v1c", ppm_channels=512, head_channels=512)
    assert count_flops(mmseg, (512, 512)) == pytest.approx(356.7e9, rel=0.01)
    assert count_flops(PSPNetSpec("resnet18", 3, 21, stem="v1c"), (480, 480)) == pytest.approx(95.3e9, rel=0.01)


def test_the_compiler_of_torch_is_not_imported_for_it():
    code = (
        "import sys; from pipeline.models.networks.flops import count_flops;"
        "from pipeline.models.spec import PSPNetSpec;"
        "count_flops(PSPNetSpec('resnet18', 3, 6), (64, 64)); print({'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

import torch
from torch import nn

from rosetta_ui import backbone_from, generator_from, own_card, register


@register(own_card("my-gan", "generator", latent_size=8, image_size=(32, 32)))
def my_gan(card, tensors):
    torch.manual_seed(0)  # untrained; yours would load weights: net.load_state_dict(…)
    up1, up2 = nn.ConvTranspose2d(8, 16, 8), nn.ConvTranspose2d(16, 3, 4, stride=4)
    net = nn.Sequential(nn.Unflatten(1, (8, 1, 1)), up1, nn.ReLU(), up2, nn.Tanh())
    return generator_from(card, net, layers={"up": "2"})


@register(own_card("my-net", "backbone", image_size=(32, 32)))
def my_net(card, tensors):
    torch.manual_seed(1)
    down1, down2 = nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.Conv2d(12, 24, 3, padding=1)
    net = nn.Sequential(down1, nn.ReLU(), down2, nn.ReLU())
    return backbone_from(card, net, layers={"edges": "1", "shapes": "3"})

"""All edits by name, and the one function that applies them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from edgekit.distill.teachers.operators import drawing, light, painting, palette, pattern, weather
from edgekit.distill.teachers.operators.strength import PLAIN

Operator = Callable[[Tensor, float], Tensor]
"""(image, strength) -> edited image; float (n, 3, h, w) in [0, 1], strength in [0, 1]."""

OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "sketch": drawing.sketch,
        "ink": drawing.ink,
        "charcoal": drawing.charcoal,
        "chalk": drawing.chalk,
        "blueprint": drawing.blueprint,
        "neon": drawing.neon,
        "emboss": drawing.emboss,
        "comic": drawing.comic,
        "watercolor": painting.watercolor,
        "oil": painting.oil,
        "cartoon": painting.cartoon,
        "pastel": painting.pastel,
        "stained glass": painting.stained_glass,
        "gold": painting.gold,
        "night": light.night,
        "moonlight": light.moonlight,
        "sunset": light.sunset,
        "golden hour": light.golden_hour,
        "noir": light.noir,
        "cyberpunk": light.cyberpunk,
        "snow": weather.snow,
        "fog": weather.fog,
        "rain": weather.rain,
        "frost": weather.frost,
        "autumn": weather.autumn,
        "blossom": weather.blossom,
        "sandstorm": weather.sandstorm,
        "sepia": palette.sepia,
        "vintage": palette.vintage,
        "infrared": palette.infrared,
        "thermal": palette.thermal,
        "pop art": palette.pop_art,
        "underwater": palette.underwater,
        "x-ray": palette.xray,
        "mosaic": pattern.mosaic,
        "halftone": pattern.halftone,
        "pixel art": pattern.pixel_art,
    }
)


def edited(image: Tensor, names: Sequence[str], *, strength: float = PLAIN) -> Tensor:
    """Apply the edits called `names`, one after the other, to a batch of images.

    `image` is float (n, 3, h, w) in [0, 1] with sides of at least 32 pixels, and so is the result,
    pixel-aligned with it. Raises KeyError for a name that is not in `OPERATORS`.
    """
    for name in names:
        image = OPERATORS[name](image, strength)
    return image

"""The words of every edit: whole prompts, short names, and the stems that give an edit away."""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit: `wordings` are whole prompts, `short` is how it is called inside a composition."""

    name: str
    family: str
    short: str
    wordings: tuple[str, ...]


def _edit(name: str, family: str, short: str, *wordings: str) -> Edit:
    return Edit(name, family, short, wordings)


TABLE = (
    _edit(
        "sketch",
        "line",
        "a pencil sketch",
        "turn it into a pencil sketch",
        "make it a sketch",
        "as a pencil drawing",
        "draw it with a pencil",
    ),
    _edit(
        "ink",
        "line",
        "an ink drawing",
        "turn it into an ink drawing",
        "draw it in ink",
        "as black ink on paper",
    ),
    _edit(
        "charcoal",
        "line",
        "a charcoal drawing",
        "turn it into a charcoal drawing",
        "draw it with charcoal",
        "as charcoal on paper",
    ),
    _edit(
        "chalk",
        "line",
        "a chalk drawing",
        "turn it into a chalk drawing",
        "draw it on a chalkboard",
        "as chalk on a blackboard",
    ),
    _edit(
        "blueprint",
        "line",
        "a blueprint",
        "turn it into a blueprint",
        "make it a blueprint",
        "as a technical blueprint",
    ),
    _edit(
        "neon",
        "line",
        "neon lights",
        "make it neon",
        "turn it into neon lights",
        "draw it with glowing neon lines",
    ),
    _edit(
        "emboss",
        "line",
        "a plaster relief",
        "turn it into a plaster relief",
        "emboss it",
        "as an embossed relief",
    ),
    _edit(
        "comic",
        "line",
        "a comic",
        "turn it into a comic",
        "make it a comic book panel",
        "in comic book style",
    ),
    _edit(
        "watercolor",
        "paint",
        "a watercolor",
        "turn it into a watercolor painting",
        "as a watercolor painting",
        "paint it in watercolor",
    ),
    _edit(
        "oil",
        "paint",
        "an oil painting",
        "turn it into an oil painting",
        "as an oil painting",
        "paint it in oil",
    ),
    _edit(
        "cartoon",
        "paint",
        "a cartoon",
        "turn it into a cartoon",
        "make it a cartoon",
        "in cartoon style",
    ),
    _edit(
        "pastel",
        "paint",
        "a pastel drawing",
        "turn it into a pastel drawing",
        "draw it with soft pastels",
        "in pastel colors",
    ),
    _edit(
        "stained glass",
        "paint",
        "stained glass",
        "turn it into stained glass",
        "as a stained glass window",
        "make it stained glass",
    ),
    _edit(
        "gold", "paint", "gold", "turn it into gold", "make it golden metal", "as if cast in gold"
    ),
    _edit(
        "night",
        "light",
        "night",
        "make it night",
        "turn day into night",
        "at night",
        "make it nighttime",
    ),
    _edit(
        "moonlight",
        "light",
        "moonlight",
        "in the moonlight",
        "make it moonlit",
        "light it by the moon",
    ),
    _edit(
        "sunset",
        "light",
        "sunset",
        "make it sunset",
        "at sunset",
        "turn it into a sunset",
        "as the sun sets",
    ),
    _edit(
        "golden hour",
        "light",
        "golden hour",
        "make it golden hour",
        "at golden hour",
        "bathe it in warm golden light",
    ),
    _edit(
        "noir",
        "light",
        "film noir",
        "make it film noir",
        "turn it into black and white noir",
        "as a black and white film still",
    ),
    _edit(
        "cyberpunk",
        "light",
        "cyberpunk",
        "make it cyberpunk",
        "turn it into a cyberpunk scene",
        "in cyberpunk style",
    ),
    _edit(
        "snow",
        "weather",
        "snow",
        "make it snowy",
        "add snow",
        "in the snow",
        "turn it into winter",
        "make it winter",
    ),
    _edit("fog", "weather", "fog", "make it foggy", "add fog", "in the fog", "make it misty"),
    _edit("rain", "weather", "rain", "make it rainy", "add rain", "in the rain", "on a rainy day"),
    _edit(
        "frost",
        "weather",
        "frost",
        "make it frosty",
        "cover it with ice",
        "freeze it",
        "make it frozen",
    ),
    _edit(
        "autumn",
        "weather",
        "autumn",
        "make it autumn",
        "turn it into autumn",
        "in the fall",
        "give it autumn leaves",
    ),
    _edit(
        "blossom",
        "weather",
        "cherry blossom",
        "make it cherry blossom season",
        "turn it into spring",
        "add cherry blossoms",
        "make it spring",
    ),
    _edit(
        "sandstorm", "weather", "a sandstorm", "in a sandstorm", "add a sandstorm", "make it dusty"
    ),
    _edit("sepia", "color", "sepia", "make it sepia", "in sepia", "as an old sepia photograph"),
    _edit(
        "vintage",
        "color",
        "vintage film",
        "make it vintage",
        "as a vintage photo",
        "like faded vintage film",
    ),
    _edit(
        "infrared",
        "color",
        "infrared",
        "make it infrared",
        "as an infrared photo",
        "shot on infrared film",
    ),
    _edit(
        "thermal",
        "color",
        "thermal",
        "make it thermal",
        "as seen by a thermal camera",
        "as a heat map",
    ),
    _edit(
        "pop art",
        "color",
        "pop art",
        "turn it into pop art",
        "make it pop art",
        "as a pop art print",
    ),
    _edit(
        "underwater",
        "color",
        "underwater",
        "make it underwater",
        "put it underwater",
        "as if under water",
    ),
    _edit(
        "x-ray",
        "color",
        "an x-ray",
        "turn it into an x-ray",
        "as an x-ray",
        "make it an xray picture",
    ),
    _edit(
        "mosaic",
        "pattern",
        "a mosaic",
        "turn it into a mosaic",
        "as a mosaic of tiles",
        "make it a mosaic",
    ),
    _edit(
        "halftone",
        "pattern",
        "halftone",
        "turn it into halftone dots",
        "as a halftone print",
        "make it halftone",
    ),
    _edit(
        "pixel art",
        "pattern",
        "pixel art",
        "turn it into pixel art",
        "make it pixel art",
        "as pixel art",
    ),
)
"""The edits, in the order in which they are listed to people."""

STEMS = MappingProxyType(
    {
        "sketch": ("sketch", "pencil"),
        "ink": ("ink", "inked"),
        "charcoal": ("charcoal",),
        "chalk": ("chalk", "chalkboard", "blackboard"),
        "blueprint": ("blueprint",),
        "neon": ("neon",),
        "emboss": ("emboss", "embossed", "plaster", "relief"),
        "comic": ("comic", "comics"),
        "watercolor": ("watercolor", "watercolors", "aquarelle"),
        "oil": ("oil", "oils"),
        "cartoon": ("cartoon",),
        "pastel": ("pastel", "pastels"),
        "stained glass": ("stained glass",),
        "gold": ("gold", "golden metal"),
        "night": ("night", "nighttime", "nightly"),
        "moonlight": ("moonlight", "moonlit", "moon"),
        "sunset": ("sunset", "sun sets", "dusk"),
        "golden hour": ("golden hour", "golden light"),
        "noir": ("noir", "black and white"),
        "cyberpunk": ("cyberpunk",),
        "snow": ("snow", "snowy", "winter", "wintry"),
        "fog": ("fog", "foggy", "mist", "misty"),
        "rain": ("rain", "rainy"),
        "frost": ("frost", "frosty", "ice", "icy", "freeze", "frozen"),
        "autumn": ("autumn", "fall", "autumnal"),
        "blossom": ("blossom", "blossoms", "spring"),
        "sandstorm": ("sandstorm", "dusty", "dust"),
        "sepia": ("sepia",),
        "vintage": ("vintage", "retro"),
        "infrared": ("infrared",),
        "thermal": ("thermal", "heat map", "heat camera"),
        "pop art": ("pop art",),
        "underwater": ("underwater", "under water"),
        "x-ray": ("xray",),
        "mosaic": ("mosaic",),
        "halftone": ("halftone",),
        "pixel art": ("pixel art", "pixelated"),
    }
)
"""Words that name an edit wherever they stand in a prompt."""

ADJECTIVES = MappingProxyType(
    {"snow": "snowy", "fog": "foggy", "rain": "rainy", "frost": "frosty", "moonlight": "moonlit"}
)
"""How the edits of weather and light are called where their short name is a noun."""

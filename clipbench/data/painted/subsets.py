"""The subsets by data set: classes in the genuine spelling, and how many images of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipbench.data.catalogue import entry
from clipbench.data.painted.lesions import MELANOMA, POLYP, TUMOURS
from clipbench.data.painted.subset import Subset


def _some(dataset: str, count: int) -> Sequence[str]:
    """So many of the catalogue's classes, evenly spaced."""
    names = list(entry(dataset).classes)
    return [names[i * len(names) // count] for i in range(count)]


_UCM = "agricultural denseresidential freeway golfcourse harbor mediumresidential parkinglot river runway tenniscourt"
_AID = "Airport BaseballField Beach DenseResidential Farmland MediumResidential Parking Port River StorageTanks"
_OPTIMAL31 = (
    "baseball_diamond basketball_court circular_farmland freeway golf_course intersection lake parking_lot "
    "rectangular_farmland roundabout"
)
_RESISC45 = "basketball_court bridge dense_residential forest freeway mountain railway river storage_tank tennis_court"
_AIRCRAFT = ("A320", "Boeing 717", "Cessna 172", "DC-10", "Eurofighter Typhoon", "F-16A/B", "Spitfire", "Tornado")
_IMAGENET = ("goldfish", "flamingo", "balloon", "beacon", "coffee mug", "parachute", "teapot", "umbrella", "volcano")
_FOOD = ("apple_pie", "caesar_salad", "cheesecake", "donuts", "french_fries", "omelette", "pizza", "ramen", "tacos")
_SUN = ("abbey", "airplane_cabin", "bakery", "bridge", "canyon", "castle", "kitchen", "lighthouse", "subway_station")
_DOMAINNET = """
    aircraft_carrier alarm_clock ant anvil asparagus axe banana basket bathtub bear bee bird blackberry blueberry
    bottlecap broccoli bus butterfly cactus cake calculator camel camera candle cannon canoe carrot castle cat
    ceiling_fan cello chair chandelier clock coffee_cup computer cow crab crocodile cruise_ship dog dolphin dragon drums
    duck dumbbell elephant eyeglasses feather fence fish flamingo flower foot fork frog giraffe goatee grapes guitar
    hammer helicopter helmet horse kangaroo lantern laptop leaf lion lipstick lobster microphone monkey mosquito mouse
    mug mushroom onion owl panda peanut pear peas pencil penguin pig pillow pineapple potato power_outlet purse rabbit
    raccoon rhinoceros rifle saxophone screwdriver sea_turtle see_saw sheep shoe skateboard snake speedboat spider
    squirrel strawberry streetlight string_bean submarine swan table teapot teddy-bear television The_Eiffel_Tower
    The_Great_Wall_of_China tiger toe train truck umbrella vase watermelon whale zebra
"""
_LISTED = {"train": 20, "val": 4, "test": 16}
_LESIONS = {"train": 40, "val": 12, "test": 16}

_ALL = (
    # Remote sensing: no official parts.
    Subset("ucm", _UCM.split(), {"": 24}, view="overhead"),
    Subset("aid", _AID.split(), {"": 30}, view="overhead"),
    Subset("optimal31", _OPTIMAL31.split(), {"": 24}, view="overhead"),
    Subset("resisc45", _RESISC45.split(), {"": 40}, view="overhead"),
    # Few-shot: enough for 16 shots.
    Subset("imagenet", _IMAGENET, {"train": 20, "test": 16}),
    Subset("sun397", _SUN, _LISTED),
    Subset("fgvc_aircraft", _AIRCRAFT, _LISTED, kind="aircraft"),
    Subset("eurosat", _some("eurosat", 10), _LISTED, view="overhead"),
    Subset("stanford_cars", _some("stanford_cars", 8), _LISTED, kind="car"),
    Subset("food101", _FOOD, _LISTED, kind="food"),
    Subset("oxford_pets", _some("oxford_pets", 8), _LISTED, kind="pet"),
    Subset("flowers102", _some("flowers102", 9), _LISTED, kind="flower"),
    Subset("caltech101", _some("caltech101", 9), _LISTED),
    Subset("dtd", _some("dtd", 9), _LISTED, view="texture"),
    Subset("ucf101", _some("ucf101", 9), _LISTED),
    # Domain generalisation: all classes, which ODG-CLIP's class splits need.
    Subset("pacs", list(entry("pacs").classes), {"train": 6, "val": 2}),
    Subset("officehome", list(entry("officehome").classes), {"train": 2, "val": 2}),
    Subset("digits_dg", list(entry("digits_dg").classes), {"train": 4, "val": 2}),
    Subset("mini_domainnet", _DOMAINNET.split(), {"train": 2, "test": 2}),
    # Segmentation.
    Subset("kvasir", ["polyp"], _LESIONS, kinds={"polyp": POLYP}, file_name="cju{:022d}", mask_suffix=".jpg"),
    Subset("clinicdb", ["polyp"], _LESIONS, kinds={"polyp": POLYP}),
    Subset("isic2016", ["skin melanoma"], _LESIONS, kinds={"melanoma": MELANOMA}, file_name="ISIC_{:07d}"),
    Subset("busi", ["tumor"], {"train": 14, "val": 4, "test": 6}, kinds=TUMOURS, file_name="{}_{}"),
)

SUBSETS: Mapping[str, Subset] = {subset.dataset: subset for subset in _ALL}

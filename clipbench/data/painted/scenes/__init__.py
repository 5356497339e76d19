"""The overhead-scene family: every kind of scene and the function that paints it."""

from __future__ import annotations

from clipbench.data.painted.family import Family
from clipbench.data.painted.scenes import built, land, sport, transport, water

OVERHEAD = Family(
    name="overhead",
    painters={
        "agricultural": land.agricultural,
        "airplane": transport.airplane,
        "airport": transport.airport,
        "baseball diamond": sport.baseball_diamond,
        "basketball court": sport.basketball_court,
        "beach": water.beach,
        "bridge": water.bridge,
        "chaparral": land.chaparral,
        "circular farmland": land.circular_farmland,
        "commercial area": built.commercial_area,
        "dense residential": built.dense_residential,
        "desert": land.desert,
        "forest": land.forest,
        "freeway": transport.freeway,
        "golf course": sport.golf_course,
        "ground track field": sport.running_track,
        "harbor": water.harbor,
        "industrial area": built.industrial_area,
        "intersection": transport.intersection,
        "island": water.island,
        "lake": water.lake,
        "meadow": land.meadow,
        "medium residential": built.medium_residential,
        "mobile home park": built.mobile_home_park,
        "mountain": land.mountain,
        "overpass": transport.overpass,
        "parking lot": transport.parking_lot,
        "railway": transport.railway,
        "rectangular farmland": land.rectangular_farmland,
        "river": water.river,
        "roundabout": transport.roundabout,
        "runway": transport.runway,
        "sparse residential": land.farmstead,
        "storage tank": built.storage_tanks,
        "tennis court": sport.tennis_court,
    },
    clutter=(built.hamlet, built.grove, transport.side_road, land.bare_patch),
)

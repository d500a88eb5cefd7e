"""Silver: the same facts, typed, cleaned and checked.

What is wrong is repaired where the source itself says what is right, set to missing where it doesn't, and
never dropped: no table has fewer rows than its source. A row that was touched says so in `repairs`, which
names the rules; each rule's docstring entry says how many rows of 2013 it touches. What can't be true and has
no rule is refused by the checks, a day at a time.

Moments are UTC. The local clock is `moment.dt.convert_time_zone(zone)`, with the zone in the row or
`NEW_YORK`.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import pandera.polars as pa
import polars as pl
from pandera.api.polars.model_config import BaseConfig

from lakehouse import silver

# A parameter is the asset of its name in this module. `x as x` says that the import is meant.
from lakehouse.assets.bronze import (
    LINES,
    OWNERS,
    Moment,
    RawAirlines,
    RawAirports,
    RawFlights,
    RawPlanes,
    RawWeather,
    daily,
)
from lakehouse.assets.bronze import raw_airlines as raw_airlines
from lakehouse.assets.bronze import raw_airports as raw_airports
from lakehouse.assets.bronze import raw_flights as raw_flights
from lakehouse.assets.bronze import raw_planes as raw_planes
from lakehouse.assets.bronze import raw_weather as raw_weather
from lakehouse.checks import accepted_values, custom, expression, not_null, reconcile, row_count, unique

NEW_YORK: Final = "America/New_York"
ORIGINS: Final = ["EWR", "JFK", "LGA"]
ZONES: Final = [
    NEW_YORK,
    "America/Anchorage",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Phoenix",
    "America/Puerto_Rico",
    "America/Vancouver",
    "Pacific/Honolulu",
]
"""The time zones that an airport may be in."""

ON_ITS_DAY: Final = "a moment on the local day that is the partition"

FLEET_NUMBERS: Final = ["AA", "MQ"]
"""Airlines that report their own fleet numbers instead of registrations."""

FASTEST: Final = 600.0
"""Miles an hour over the ground that no flight from New York makes."""


# ── airlines, airports, planes ────────────────────────────────────────────────────────────


class Airlines(pa.DataFrameModel):
    """An airline."""

    carrier: str = pa.Field(unique=True, str_matches=r"^[0-9A-Z]{2}$", description="IATA code")
    name: str = pa.Field(str_length={"min_value": 1})

    class Config(BaseConfig):
        strict = True


class Airports(pa.DataFrameModel):
    """An airport of the United States."""

    airport: str = pa.Field(unique=True, str_matches=r"^[0-9A-Z]{3}$", description="FAA code")
    name: str = pa.Field(str_length={"min_value": 1})
    latitude: float = pa.Field(nullable=True, ge=17, le=72)
    longitude: float = pa.Field(
        nullable=True, ge=-180, le=180, description="East is positive, which the western Aleutians are"
    )
    altitude_ft: int = pa.Field(ge=-100, le=10_000)
    timezone: str = pa.Field(isin=ZONES, description="IANA name")
    utc_offset: int = pa.Field(ge=-10, le=-4, description="hours, in winter")
    repairs: str = pa.Field(nullable=True, description="rules that touched the row")

    class Config(BaseConfig):
        strict = True


class Planes(pa.DataFrameModel):
    """A registered aircraft."""

    registration: str = pa.Field(unique=True, str_matches=r"^N[1-9][0-9]{0,4}[A-HJ-NP-Z]{0,2}$")
    year: int = pa.Field(nullable=True, ge=1940, le=2013, description="of manufacture")
    type: str = pa.Field(isin=["Fixed wing multi engine", "Fixed wing single engine", "Rotorcraft"])
    manufacturer: str
    model: str
    engines: int = pa.Field(ge=1, le=4)
    seats: int = pa.Field(ge=1, le=600)
    engine: str
    airliner: bool = pa.Field(description="several engines, fixed wings and 20 seats or more")
    repairs: str = pa.Field(nullable=True, description="rules that touched the row")

    class Config(BaseConfig):
        strict = True


@silver(tags=["register"], owners=OWNERS, group="registers", checks=[reconcile("raw_airlines", tolerance=0)])
def airlines(raw_airlines: Annotated[pl.LazyFrame, RawAirlines, LINES]) -> Annotated[pl.LazyFrame, Airlines]:
    """The 16 airlines. Nothing had to be repaired."""
    return raw_airlines.select("carrier", pl.col("name").str.strip_chars())


TRUE_ZONES: Final = {"1C9": "America/Los_Angeles", "DVT": "America/Phoenix", "MYF": "America/Los_Angeles"}
"""Zones of airports that the source has in another country."""

ZONE_OF_OFFSET: Final = {-5: NEW_YORK, -9: "America/Anchorage"}
OFFSET_OF_ZONE: Final = {"America/Phoenix": -7, "America/Los_Angeles": -8}

SUPPLEMENT: Final = pl.LazyFrame(
    [
        ("BQN", "Rafael Hernandez", 18.4949, -67.1294, 237, "America/Puerto_Rico", -4),
        ("PSE", "Mercedita", 18.0083, -66.5630, 29, "America/Puerto_Rico", -4),
        ("SJU", "Luis Munoz Marin Intl", 18.4394, -66.0018, 9, "America/Puerto_Rico", -4),
        ("STT", "Cyril E King", 18.3373, -64.9734, 23, "America/Puerto_Rico", -4),
    ],
    schema=["airport", "name", "latitude", "longitude", "altitude_ft", "timezone", "utc_offset"],
    orient="row",
)
"""Destinations that the register lacks: Puerto Rico and St. Thomas, which keep one time all year."""


@silver(
    tags=["register"],
    owners=OWNERS,
    group="registers",
    checks=[reconcile("raw_airports", tolerance=0.01), row_count(min=1000)],
)
def airports(raw_airports: Annotated[pl.LazyFrame, RawAirports, LINES]) -> Annotated[pl.LazyFrame, Airports]:
    """The register of airports: the source's 1,458 and 4 that it lacks.

    Rules, and the rows they touch:

    - `supplied` (4): BQN, PSE, SJU and STT aren't in the register, but 7,602 flights go there.
    - `longitude_sign` (2): DVT and MYF lie in China (112° and 118° East, UTC+8); the sign of the longitude is
      turned, and their zone is read off the map (Phoenix, Los Angeles).
    - `swapped` (1): EEN lies in the Arctic Ocean (72° North, 43° East): latitude and longitude are exchanged
      and the sign of the longitude is lost.
    - `zone_filled` (3): EEN, LRO and YAK have no zone; the offset from UTC says which.
    - `misplaced` (1): 1C9 is in California, its place in British Columbia: the place is set to missing, the
      zone becomes Los Angeles.
    - `unescaped` (2): Martha's Vineyard and Port O'Connor have backslashes in their names.

    SYA lies at 174° East and is right: the Aleutians reach past the date line. The source's `dst` is left
    out: it contradicts the zone where it matters (26 of 38 airports in Arizona's zone "observe" summer time).
    """
    swapped = pl.col("lat").gt(72) & pl.col("lon").gt(0)
    eastern = pl.col("tz").gt(0)
    misplaced = pl.col("faa").eq("1C9") & pl.col("lat").gt(49)
    unzoned = pl.col("tzone").is_null()
    escaped = pl.col("name").str.contains(r"\\", literal=True)
    zone = (
        pl.when(eastern | misplaced)
        .then(pl.col("faa").replace_strict(TRUE_ZONES, default=None))
        .when(unzoned)
        .then(pl.col("tz").replace_strict(ZONE_OF_OFFSET, default=None))
        .otherwise("tzone")
    )
    latitude = pl.when(swapped).then("lon").when(~misplaced).then("lat")
    longitude = pl.when(swapped).then(-pl.col("lat")).when(eastern).then(-pl.col("lon")).when(~misplaced).then("lon")
    found = raw_airports.select(
        airport="faa",
        name=pl.col("name").str.replace_all(r"\\+'", "'").str.strip_chars(),
        latitude=latitude,
        longitude=longitude,
        altitude_ft="alt",
        timezone=zone,
        utc_offset=pl.when(eastern).then(zone.replace_strict(OFFSET_OF_ZONE, default=None)).otherwise("tz"),
        repairs=_repairs(
            swapped=swapped,
            longitude_sign=eastern,
            zone_filled=unzoned,
            misplaced=misplaced,
            unescaped=escaped,
        ),
    )
    lacking = SUPPLEMENT.join(found, on="airport", how="anti").with_columns(repairs=pl.lit("supplied"))
    return pl.concat([found, lacking])


MANUFACTURERS: Final = {
    "AIRBUS INDUSTRIE": "AIRBUS",
    "CANADAIR LTD": "CANADAIR",
    "MCDONNELL DOUGLAS AIRCRAFT CO": "MCDONNELL DOUGLAS",
    "MCDONNELL DOUGLAS CORPORATION": "MCDONNELL DOUGLAS",
}
"""Spellings of one manufacturer."""


@silver(
    tags=["register"],
    owners=OWNERS,
    group="registers",
    checks=[
        reconcile("raw_planes", tolerance=0),
        accepted_values(
            "engine",
            ["4 Cycle", "Reciprocating", "Turbo-fan", "Turbo-jet", "Turbo-prop", "Turbo-shaft"],
            blocking=False,
        ),
        expression("airliner", pl.col("airliner"), wants="airliners only", blocking=False),
    ],
)
def planes(raw_planes: Annotated[pl.LazyFrame, RawPlanes, LINES]) -> Annotated[pl.LazyFrame, Planes]:
    """The register of planes (3,322).

    Rules, and the rows they touch:

    - `manufacturer_respelt` (518): AIRBUS INDUSTRIE is AIRBUS (400), McDonnell Douglas has three names (117),
      Canadair two (1).
    - `year_too_early` (1): N14629, a Boeing 737-500 of 1965, 24 years before there was one; set to missing.
      The year is also missing at 70 planes of the source.
    - `engines_corrected` (2): N854NW and N856NW, Airbus A330s with three engines, have two like every A330.

    `airliner` is false for 40: light aircraft and helicopters that share a number with an airliner. The
    register is younger than the flights and numbers are given anew (829 flights of JetBlue seem to be flown
    by a helicopter or a light aircraft), so ask for it before believing a plane. The source's `speed` is left
    out: it is missing at 3,299.
    """
    early = pl.col("model").str.starts_with("737-5") & pl.col("year").lt(1989)
    engines = pl.col("model").str.starts_with("A330") & pl.col("engines").ne(2)
    many = pl.col("type").eq("Fixed wing multi engine")
    return raw_planes.select(
        registration="tailnum",
        year=pl.when(~early.fill_null(value=False)).then("year"),
        type="type",
        manufacturer=pl.col("manufacturer").replace(MANUFACTURERS),
        model="model",
        engines=pl.when(engines).then(pl.lit(2, pl.Int64)).otherwise("engines"),
        seats="seats",
        engine="engine",
        airliner=many & pl.col("seats").ge(20),
        repairs=_repairs(
            manufacturer_respelt=pl.col("manufacturer").is_in(list(MANUFACTURERS)),
            year_too_early=early,
            engines_corrected=engines,
        ),
    )


# ── weather ───────────────────────────────────────────────────────────────────────────────


class Weather(pa.DataFrameModel):
    """The weather at an airport in one hour."""

    date: pl.Date = pa.Field(description="local day: the partition")
    origin: str = pa.Field(isin=ORIGINS)
    observed_at: Moment = pa.Field(description="the hour")
    temp_f: float = pa.Field(nullable=True, ge=-20, le=115)
    dewpoint_f: float = pa.Field(nullable=True, ge=-50, le=90)
    humidity_pct: float = pa.Field(nullable=True, gt=0, le=100)
    wind_dir_deg: int = pa.Field(nullable=True, ge=10, le=360, description="missing in a calm")
    wind_mph: float = pa.Field(nullable=True, ge=0, le=150)
    gust_mph: float = pa.Field(nullable=True, gt=0, le=200)
    precip_in: float = pa.Field(ge=0, le=6)
    pressure_mb: float = pa.Field(nullable=True, ge=920, le=1070)
    visibility_mi: float = pa.Field(ge=0, le=10)
    repairs: str = pa.Field(nullable=True, description="rules that touched the row")

    class Config(BaseConfig):
        strict = True


def _new_york_day(moment: str) -> pl.Expr:
    return pl.col(moment).dt.convert_time_zone(NEW_YORK).dt.date()


def _relative_humidity() -> pl.Expr:
    """Magnus' formula, in per cent."""

    def vapour(column: str) -> pl.Expr:
        celsius = (pl.col(column) - 32) / 1.8
        return (17.625 * celsius / (243.04 + celsius)).exp()

    return 100 * vapour("dewpoint_f") / vapour("temp_f")


@silver(
    partitions=daily,
    tags=["daily"],
    owners=OWNERS,
    group="weather",
    checks=[
        unique("origin", "observed_at"),
        reconcile("raw_weather", tolerance=0),
        expression("on_its_day", _new_york_day("observed_at") == pl.col("date"), wants=ON_ITS_DAY),
        expression(
            "dewpoint_below_temperature",
            pl.col("dewpoint_f") <= pl.col("temp_f"),
            wants="a dew point no higher than the temperature",
        ),
        expression(
            "humidity_fits_dewpoint",
            (_relative_humidity() - pl.col("humidity_pct")).abs() <= 10,
            wants="the humidity that temperature and dew point make, give or take 10 points",
            blocking=False,
        ),
    ],
)
def weather(raw_weather: Annotated[pl.LazyFrame, RawWeather, LINES]) -> Annotated[pl.LazyFrame, Weather]:
    """The weather at EWR, JFK and LGA, hour by hour (26,115 rows).

    The hour is the source's `time_hour` (UTC): its local hours name 1 o'clock of November 3 twice at each
    airport, and they are two hours, not duplicates. No row is a duplicate.

    Rules, and the rows they touch:

    - `wind_impossible` (1): 1,048 mph (911 knots) at EWR on February 12; set to missing.
    - `freezing_summer` (1): 13.1 °F at JFK on May 8 between 57.0 °F and 57.2 °F, plainly degrees Celsius;
      temperature, dew point and humidity are set to missing, as below 32 °F from May to September (the next
      lowest is 48.0).
    - `calm` (1,256): wind of no speed has no direction (the source says 0; North is 360).

    The humidity check warns of 20 hours: humidity of one report beside temperature of another. Missing in the
    source: pressure (2,729), gusts (20,778: mostly none), direction (460), wind (4), temperature (1).
    """
    impossible = pl.col("wind_speed") > 150
    freezing = pl.col("date").dt.month().is_between(5, 9) & pl.col("temp").lt(32)
    calm = pl.col("wind_speed").eq(0) & pl.col("wind_dir").eq(0)

    def unless(rule: pl.Expr, column: str) -> pl.Expr:
        return pl.when(~rule.fill_null(value=False)).then(pl.col(column))

    return raw_weather.select(
        "date",
        "origin",
        observed_at=_moment("time_hour"),
        temp_f=unless(freezing, "temp"),
        dewpoint_f=unless(freezing, "dewp"),
        humidity_pct=unless(freezing, "humid"),
        wind_dir_deg=unless(calm, "wind_dir"),
        wind_mph=unless(impossible, "wind_speed"),
        gust_mph="wind_gust",
        precip_in="precip",
        pressure_mb="pressure",
        visibility_mi="visib",
        repairs=_repairs(wind_impossible=impossible, freezing_summer=freezing, calm=calm),
    )


# ── flights ───────────────────────────────────────────────────────────────────────────────


class Flights(pa.DataFrameModel):
    """A flight that was scheduled to leave New York. Delays and durations are minutes."""

    date: pl.Date = pa.Field(description="local day of the scheduled departure: the partition")
    flight_id: str = pa.Field(
        str_matches=r"^\d{4}-\d\d-\d\d-[0-9A-Z]{2}\d{1,4}-[A-Z]{3}$",
        description="day, carrier, number and origin",
    )
    carrier: str = pa.Field(str_matches=r"^[0-9A-Z]{2}$")
    flight: int = pa.Field(ge=1, le=9999, description="the carrier's number of it")
    tailnum: str = pa.Field(nullable=True, description="as the carrier reports it")
    registration: str = pa.Field(
        nullable=True,
        str_matches=r"^N[1-9][0-9]{0,4}[A-HJ-NP-Z]{0,2}$",
        description="tailnum, where it is a registration",
    )
    origin: str
    dest: str = pa.Field(str_matches=r"^[A-Z]{3}$")
    dest_timezone: str = pa.Field(nullable=True, isin=ZONES)
    distance: int = pa.Field(gt=0, le=6000, description="miles")
    time_hour: Moment = pa.Field(description="hour of the scheduled departure, to join the weather on")
    sched_dep_at: Moment
    sched_dep_time: int = pa.Field(ge=0, le=2400, description="as printed, hhmm in New York")
    dep_at: Moment = pa.Field(nullable=True)
    dep_time: int = pa.Field(nullable=True, ge=0, le=2400, description="as printed, hhmm in New York")
    dep_delay: int = pa.Field(nullable=True, ge=-120, le=2880)
    sched_arr_at: Moment = pa.Field(nullable=True)
    sched_arr_time: int = pa.Field(ge=0, le=2400, description="as printed, hhmm at the destination")
    arr_at: Moment = pa.Field(nullable=True)
    arr_time: int = pa.Field(nullable=True, ge=0, le=2400, description="as printed, hhmm at the destination")
    arr_delay: int = pa.Field(nullable=True, ge=-180, le=2880)
    air_time: int = pa.Field(nullable=True, gt=0, le=900)
    cancelled: bool = pa.Field(description="never left")
    diverted: bool = pa.Field(description="left, and did not land where it should have, or not at first")
    repairs: str = pa.Field(nullable=True, description="rules that touched the row")

    class Config(BaseConfig):
        strict = True


class Zones(pa.DataFrameModel):
    """What flights ask of the airports."""

    airport: str
    timezone: str


def _skipped(moment: str, hhmm: str, zone: str) -> pl.Expr:
    """Whether the zone skips the printed time on the local day of the moment."""
    local = _midnight(pl.col(moment), zone) + pl.duration(minutes=_minutes(hhmm))
    return local.is_not_null() & _utc(local, zone).is_null()


def _midnight(moment: pl.Expr, zone: str) -> pl.Expr:
    """The beginning of the moment's local day, as a local time."""
    return moment.dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.truncate("1d")


def _minutes(hhmm: str) -> pl.Expr:
    """Minutes after midnight of a printed time; 2400 is midnight, as 0 is."""
    return (pl.col(hhmm) // 100 * 60 + pl.col(hhmm) % 100) % 1440


def _prints(moment: str, zone: str, hhmm: str) -> pl.Expr:
    """Whether the zone's clock prints the moment as given, or both are missing."""
    local = pl.col(moment).dt.convert_time_zone(zone)
    printed = local.dt.hour().cast(pl.Int64) * 100 + local.dt.minute().cast(pl.Int64)
    return printed.eq_missing(pl.col(hhmm) % 2400)


def _at_destination(what: Callable[[str], pl.Expr]) -> pl.Expr:
    """What an expression says in the row's own zone (polars takes one zone to an expression)."""
    return pl.coalesce(pl.when(pl.col("dest_timezone") == zone).then(what(zone)) for zone in ZONES)


def _next(hhmm: str, start: str) -> pl.Expr:
    """The first moment, from `start` on, at which the clock at the destination prints `hhmm`.

    Of an hour that is there twice (November) it is the first that isn't too early. In an hour that isn't
    there at all (March) a clock is read that nobody has put forward yet.
    """

    def first(zone: str) -> pl.Expr:
        # Missing in the other zones' rows, which spares their conversion.
        begin = pl.when(pl.col("dest_timezone") == zone).then(start)
        local = _midnight(begin, zone) + pl.duration(minutes=_minutes(hhmm))
        tries = [
            _utc(local, zone),
            _utc(local, zone, ambiguous="latest"),
            pl.when(_utc(local, zone).is_null()).then(_utc(local + pl.duration(hours=1), zone)),
            _utc(local + pl.duration(days=1), zone),
        ]
        return pl.coalesce(pl.when(t >= begin).then(t) for t in tries)

    return _at_destination(first)


def _utc(local: pl.Expr, zone: str, ambiguous: Literal["earliest", "latest"] = "earliest") -> pl.Expr:
    """A local time in UTC; missing if the zone skips it."""
    zoned = local.dt.replace_time_zone(zone, ambiguous=ambiguous, non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


@custom(blocking=False)
def aircraft_in_two_places(frame: pl.LazyFrame) -> pl.LazyFrame:
    """no aircraft leaves New York again before it has arrived"""
    following = pl.col("dep_at").sort_by("dep_at").shift(-1)
    return frame.filter(pl.col("registration").is_not_null(), pl.col("dep_at").is_not_null()).filter(
        following.over("registration", "date", order_by="dep_at") < pl.col("arr_at")
    )


@silver(
    partitions=daily,
    tags=["daily", "core"],
    owners=OWNERS,
    group="flights",
    checks=[
        unique("flight_id"),
        reconcile("raw_flights", tolerance=0),
        accepted_values("origin", ORIGINS),
        not_null("sched_arr_at", blocking=False),
        expression("on_its_day", _new_york_day("sched_dep_at") == pl.col("date"), wants=ON_ITS_DAY),
        expression(
            "schedule_as_printed",
            _prints("sched_dep_at", NEW_YORK, "sched_dep_time"),
            wants="a scheduled departure in UTC that is the printed one in New York",
        ),
        expression(
            "departure_as_printed",
            _prints("dep_at", NEW_YORK, "dep_time"),
            wants="schedule and delay that make the printed departure",
        ),
        expression(
            "arrival_as_printed",
            _at_destination(lambda zone: _prints("arr_at", zone, "arr_time"))
            | pl.col("repairs").str.contains("arrival_in_skipped_hour").fill_null(value=False),
            wants="schedule and delay that make the printed arrival",
        ),
        expression(
            "in_the_air_between_departure_and_arrival",
            (pl.col("arr_at") - pl.col("dep_at")).dt.total_minutes() > pl.col("air_time"),
            wants="less time in the air than from gate to gate",
        ),
        aircraft_in_two_places,
    ],
)
def flights(
    raw_flights: Annotated[pl.LazyFrame, RawFlights, LINES], airports: Annotated[pl.LazyFrame, Zones]
) -> Annotated[pl.LazyFrame, Flights]:
    """Every flight that was scheduled to leave New York (336,776).

    **Moments.** The scheduled departure is the source's `time_hour` (UTC) and its minute, the departure is
    that and the delay. The scheduled arrival is the first moment after it at which the clock at the
    destination prints it (so after midnight where it must, 2400 being midnight); the arrival is that and the
    delay. All of it agrees with the printed times to the minute, for every flight but one. Where the arrival
    has no delay (717 diverted flights) its printed time is taken, the first after the departure: a flight
    diverted for more than a day would be a day off.

    **Outcomes.** `cancelled` (8,255): never left. `diverted` (1,175): left, but the source has no arrival
    delay; 458 of them have no arrival at all. `arr_delay` and `air_time` are missing for both. No flight is a
    duplicate.

    **Planes.** AA and MQ report fleet numbers for tail numbers, which match nothing, or light aircraft: those
    59,040 flights have no `registration`. Nor have the 4 of D942DN, which is none, and 2,512 cancelled
    flights have no tail number at all.

    Rules, and the rows they touch:

    - `air_time_impossible` (4): over 600 miles an hour (641 to 703; the next is 591); the air time is set to
      missing.
    - `arrival_in_skipped_hour` (1): B6 35 of March 9 lands at 2:03 on March 10, when it is never 2:03 in
      Florida. The delay says 3:03 EDT, and that is taken.

    The aircraft check warns of 128 flights whose plane left New York again before they landed.
    """
    zones = airports.select(dest="airport", dest_timezone="timezone")
    scheduled = raw_flights.join(zones, on="dest", how="left", maintain_order="left").with_columns(
        time_hour=_moment("time_hour"),
        sched_dep_at=_moment("time_hour") + pl.duration(minutes=pl.col("sched_dep_time") % 100),
    )
    left = scheduled.with_columns(
        dep_at=pl.col("sched_dep_at") + pl.duration(minutes="dep_delay"),
        sched_arr_at=_next("sched_arr_time", "sched_dep_at"),
    ).with_columns(diverted_at=pl.when(pl.col("arr_delay").is_null()).then("dep_at"))
    arrived = left.with_columns(
        arr_at=pl.coalesce(
            pl.col("sched_arr_at") + pl.duration(minutes="arr_delay"),
            _next("arr_time", "diverted_at"),
        ),
        cancelled=pl.col("dep_time").is_null(),
        diverted=pl.col("dep_time").is_not_null() & pl.col("arr_delay").is_null(),
    )
    # A negative time is no fast flight: that is for the schema to refuse.
    too_fast = pl.col("air_time").gt(0) & (pl.col("distance") > FASTEST / 60 * pl.col("air_time"))
    skipped = _at_destination(lambda zone: _skipped("arr_at", "arr_time", zone))
    return arrived.select(
        "date",
        pl.format("{}-{}{}-{}", "date", "carrier", "flight", "origin").alias("flight_id"),
        "carrier",
        "flight",
        "tailnum",
        pl.when(~pl.col("carrier").is_in(FLEET_NUMBERS), pl.col("tailnum").str.starts_with("N"))
        .then("tailnum")
        .alias("registration"),
        *["origin", "dest", "dest_timezone", "distance", "time_hour"],
        *["sched_dep_at", "sched_dep_time", "dep_at", "dep_time", "dep_delay"],
        *["sched_arr_at", "sched_arr_time", "arr_at", "arr_time", "arr_delay"],
        pl.when(~too_fast).then("air_time").alias("air_time"),
        "cancelled",
        "diverted",
        _repairs(air_time_impossible=too_fast, arrival_in_skipped_hour=skipped).alias("repairs"),
    )


# ── helpers ───────────────────────────────────────────────────────────────────────────────


def _moment(text: str) -> pl.Expr:
    """The source's notation of a moment, parsed; missing if it can't be, so that only its day is refused."""
    naive = pl.col(text).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False)
    return naive.dt.replace_time_zone("UTC")


def _repairs(**rules: pl.Expr) -> pl.Expr:
    """The names of the rules that apply, or missing if none does."""
    names = [pl.when(applies).then(pl.lit(rule)) for rule, applies in rules.items()]
    said = pl.concat_str(names, separator=",", ignore_nulls=True)
    return pl.when(said != "").then(said)

"""What the sandbox's machines are made of: places, processors, boards, drivers and how their figures are spread.

Round figures in the spirit of mid-2026 listings. A ``Spread`` is a list of (share of the machines below, value).
"""

from typing import NamedTuple

Spread = tuple[tuple[float, float], ...]


class Place(NamedTuple):
    """Where a host says it is, and the weight of that place among consumer and datacenter hosts."""

    name: str
    home: float
    datacenter: float


PLACES: tuple[Place, ...] = (
    Place("California, US", 7, 9),
    Place(", US", 5, 5),
    Place("Texas, US", 5, 5),
    Place("Virginia, US", 1, 7),
    Place("Washington, US", 3, 3),
    Place("Massachusetts, US", 2, 2),
    Place("Minnesota, US", 2, 2),
    Place("New York, US", 2.5, 1),
    Place("New Jersey, US", 1, 2),
    Place("Utah, US", 1, 1.5),
    Place("Oregon, US", 1, 2),
    Place("Ohio, US", 1, 1),
    Place("North Carolina, US", 1, 0.5),
    Place("Maryland, US", 1, 1),
    Place("Alabama, US", 1, 1),
    Place("Florida, US", 1.2, 0.5),
    Place("District of Columbia, US", 0.2, 0.3),
    Place("Quebec, CA", 7, 3),
    Place("Alberta, CA", 2, 0.5),
    Place("British Columbia, CA", 2.5, 0.5),
    Place("Ontario, CA", 1.5, 0.5),
    Place(", CA", 1, 1),
    Place("Quebec,CA", 0.2, 0),
    Place("Sweden, SE", 4.5, 1.5),
    Place("Norway, NO", 4, 2),
    Place("Viken, NO", 0.6, 0),
    Place("Iceland, IS", 1, 4),
    Place("Finland, FI", 0.8, 1),
    Place("Denmark, DK", 1, 0.5),
    Place("Estonia, EE", 0.7, 0.3),
    Place("Lithuania, LT", 0.5, 0),
    Place("United Kingdom, GB", 3.5, 1.5),
    Place("Ireland, IE", 0.6, 0.4),
    Place("France, FR", 2, 2),
    Place("Spain, ES", 3, 1.5),
    Place("Italy, IT", 1, 0.5),
    Place("Germany, DE", 2.5, 1),
    Place("The Netherlands, NL", 1.5, 1.5),
    Place("Belgium, BE", 0.7, 0.3),
    Place("Poland, PL", 2.5, 0.5),
    Place("Czechia, CZ", 3, 3),
    Place("Hungary, HU", 2.5, 0.5),
    Place("Bács-Kiskun, HU", 0.3, 0),
    Place("Romania, RO", 1.2, 0.3),
    Place("Bulgaria, BG", 2, 1),
    Place("Greece, GR", 0.8, 0),
    Place("Slovenia, SI", 0.5, 0),
    Place("North Macedonia, MK", 0.4, 0),
    Place("Ukraine, UA", 0.7, 0),
    Place("Türkiye, TR", 0.5, 0.2),
    Place("Japan, JP", 3.5, 2),
    Place("South Korea, KR", 2.5, 1.5),
    Place("Taiwan, TW", 2.5, 1),
    Place("Hong Kong, HK", 1, 0.5),
    Place("Guangxi, CN", 1, 0.2),
    Place("Sichuan, CN", 1.5, 0.2),
    Place("Guangdong, CN", 0.8, 0),
    Place("Shanghai, CN", 0.6, 0),
    Place(", CN", 1.5, 0.3),
    Place("Vietnam, VN", 2.5, 0.3),
    Place("Thailand, TH", 0.8, 0.2),
    Place("India, IN", 0.8, 0.7),
    Place("Australia, AU", 1.5, 0.5),
    Place("New Zealand, NZ", 0.9, 0),
    Place("United Arab Emirates, AE", 0.5, 0.5),
    Place("Saudi Arabia, SA", 0.4, 0.6),
    Place("Israel, IL", 0.5, 0.3),
    Place("Kazakhstan, KZ", 0.4, 0),
    Place("South Africa, ZA", 0.4, 0),
    Place("Brazil, BR", 0.6, 0),
    Place("Argentina, AR", 0.8, 0),
)


class Cpu(NamedTuple):
    """A processor as listings write it: some names end in a blank."""

    name: str
    threads: int
    ghz: float
    desktop: float
    """Weight in machines of one or two GPUs."""
    server: float
    """Weight in larger machines."""


CPUS: tuple[Cpu, ...] = (
    Cpu("Xeon® E5-2680 v4 ", 28, 2.4, 6, 3),
    Cpu("Xeon® E5-2690 v4 ", 56, 2.6, 3, 4),
    Cpu("Xeon® E5-2683 v4 ", 64, 2.1, 2, 2),
    Cpu("Xeon® Gold 6226R ", 64, 2.9, 1, 3),
    Cpu("Xeon® Platinum 8470 ", 208, 2.0, 0, 5),
    Cpu("Xeon® Platinum 8480+ ", 224, 2.0, 0, 6),
    Cpu("Xeon® 6960P ", 288, 2.7, 0, 3),
    Cpu("Core™ i5-12400F ", 12, 4.4, 4, 0),
    Cpu("Core™ i7-12700K ", 20, 4.9, 4, 0),
    Cpu("Core™ i9-14900K ", 32, 5.7, 4, 0),
    Cpu("Core™ Ultra 9 285K", 24, 5.5, 3, 0),
    Cpu("Celeron® G3900 ", 2, 2.8, 1, 0),
    Cpu("AMD Ryzen 5 5600X 6-Core Processor", 12, 3.7, 5, 0),
    Cpu("AMD Ryzen 7 7700 8-Core Processor", 16, 3.8, 5, 0),
    Cpu("AMD Ryzen 9 7950X 16-Core Processor", 32, 4.5, 5, 0),
    Cpu("AMD Ryzen 9 9950X 16-Core Processor", 32, 4.3, 5, 0),
    Cpu("AMD Ryzen Threadripper PRO 3955WX 16-Cores", 32, 3.9, 3, 3),
    Cpu("AMD Ryzen Threadripper PRO 7975WX 32-Cores", 64, 4.0, 3, 4),
    Cpu("AMD EPYC 7302P 16-Core Processor", 32, 3.0, 4, 4),
    Cpu("AMD EPYC 7402 24-Core Processor", 48, 2.8, 3, 4),
    Cpu("AMD EPYC 7542 32-Core Processor", 64, 2.9, 3, 5),
    Cpu("AMD EPYC 7702 64-Core Processor", 128, 2.0, 2, 6),
    Cpu("AMD EPYC 7713 64-Core Processor", 128, 2.0, 2, 6),
    Cpu("AMD EPYC 7763 64-Core Processor", 256, 2.45, 0, 6),
    Cpu("AMD EPYC 9354 32-Core Processor", 128, 3.25, 1, 5),
    Cpu("AMD EPYC 9554 64-Core Processor", 256, 3.1, 0, 7),
    Cpu("AMD EPYC 9654 96-Core Processor", 384, 2.4, 0, 6),
    Cpu("AMD EPYC 9755 128-Core Processor", 512, 2.7, 0, 2),
)

BOARDS: tuple[str, ...] = (
    "ROME2D32GM",
    "X99",
    "H12SSL",
    "X10DRG",
    "Pro WS WRX80E",
    "ROMED8-2T",
    "MZ32-AR0-00",
    "B550 AORUS ELITE ",
    "Z790",
    "X670E",
    "K14PG-D24",
    "H13SSL-N",
    "B650",
    "GENOAD8X-2T/BCM",
    "Google Compute Engine",
    "PRIME Z690-P WIFI",
)
DISKS: tuple[str, ...] = (
    "nvme",
    "Samsung SSD 990 PRO 2TB",
    "WD_BLACK SN850X 4000GB",
    "CT4000P3PSSD8",
    "Corsair MP600 PRO XT",
    "KINGSTON SKC3000D2048G",
    "SAMSUNG MZVL21T0HCLR-00B00",
    "QEMU HARDDISK",
    "ADATA SX8200PNP",
    "PCIe SSD",
    "INTEL SSDPE2KX040T8",
    "",
)


class Driver(NamedTuple):
    """A driver, the CUDA it brings, and its weight; only Blackwell-ready ones run the newest cards."""

    version: str
    cuda: float
    weight: float
    blackwell: bool


DRIVERS: tuple[Driver, ...] = (
    Driver("610.43.02", 13.3, 2, True),
    Driver("595.71.05", 13.2, 22, True),
    Driver("595.58.03", 13.2, 4, True),
    Driver("595.84", 13.2, 1, True),
    Driver("590.48.01", 13.1, 10, True),
    Driver("590.44.01", 13.1, 1, True),
    Driver("580.159.03", 13.0, 13, True),
    Driver("580.126.09", 13.0, 8, True),
    Driver("580.95.05", 13.0, 8, True),
    Driver("580.142", 13.0, 5, True),
    Driver("580.105.08", 13.0, 3, True),
    Driver("575.57.08", 12.9, 2, True),
    Driver("570.195.03", 12.8, 3, True),
    Driver("570.211.01", 12.8, 3, True),
    Driver("570.181", 12.8, 1, True),
    Driver("570.133.07", 12.8, 2, True),
    Driver("565.57.01", 12.7, 3, False),
    Driver("560.35.03", 12.6, 4, False),
    Driver("555.58.02", 12.5, 1, False),
    Driver("550.127.05", 12.4, 2, False),
    Driver("550.120", 12.4, 2, False),
    Driver("545.29.06", 12.3, 0.5, False),
    Driver("535.216.01", 12.2, 4, False),
    Driver("525.147.05", 12.0, 1, False),
)
AMD_DRIVERS: tuple[Driver, ...] = (Driver("6.10.5", 0.0, 2, False), Driver("6.4.1", 0.0, 1, False))

UBUNTU: tuple[tuple[str, float], ...] = (("22.04", 0.55), ("24.04", 0.27), ("20.04", 0.16), ("18.04", 0.02))

USD_PER_TB: tuple[tuple[float, float], ...] = (
    (0.0, 0.16),
    (0.002, 0.06),
    (1.0, 0.14),
    (2.0, 0.17),
    (3.0, 0.16),
    (4.0, 0.10),
    (5.0, 0.08),
    (7.5, 0.06),
    (10.0, 0.04),
    (20.0, 0.03),
)
"""Network prices as hosts set them (what they get; the renter pays a third more), with weights."""

STORAGE_USD_PER_GB_MONTH: tuple[tuple[float, float], ...] = (
    (0.002, 0.02),
    (0.05, 0.06),
    (0.10, 0.22),
    (0.112, 0.05),
    (0.15, 0.38),
    (0.20, 0.10),
    (0.30, 0.07),
    (0.50, 0.06),
    (0.70, 0.03),
    (0.75, 0.01),
)
CREDIT_DISCOUNTS: tuple[tuple[float, float], ...] = (
    (0.0, 0.62),
    (0.4, 0.15),
    (0.1, 0.07),
    (0.2, 0.07),
    (0.3, 0.03),
    (0.05, 0.03),
    (0.15, 0.02),
    (1.0, 0.01),
)
DEVERIFIED_CODES: tuple[tuple[float, float], ...] = ((8, 0.46), (4, 0.38), (10, 0.08), (2, 0.05), (12, 0.03))

RELIABILITY: dict[str, Spread] = {
    "verified": ((0, 0.72), (0.01, 0.925), (0.05, 0.97), (0.1, 0.98), (0.25, 0.99), (0.5, 0.9955), (0.75, 0.998),
                 (0.95, 0.9993), (1, 0.99999)),
    "unverified": ((0, 0.6), (0.01, 0.85), (0.05, 0.934), (0.1, 0.958), (0.25, 0.97), (0.5, 0.989), (0.75, 0.9965),
                   (0.95, 0.999), (1, 0.9999)),
    "deverified": ((0, 0.65), (0.01, 0.86), (0.05, 0.936), (0.1, 0.967), (0.25, 0.986), (0.5, 0.994), (0.75, 0.996),
                   (0.95, 0.999), (1, 0.9999)),
}  # fmt: skip
DOWN_MBPS: dict[bool, Spread] = {
    True: ((0, 60), (0.05, 500), (0.1, 700), (0.25, 900), (0.5, 3200), (0.75, 7300), (0.95, 20000), (1, 89000)),
    False: ((0, 5), (0.1, 90), (0.25, 330), (0.5, 820), (0.75, 1600), (0.9, 4500), (0.99, 9500), (1, 30000)),
}
"""By whether the machine is verified (a condition of Vast's verification is bandwidth)."""
UP_SHARE_OF_DOWN: Spread = ((0, 0.02), (0.1, 0.2), (0.3, 0.55), (0.6, 0.85), (0.9, 1.05), (1, 1.4))
DISK_GB_PER_GPU: Spread = (
    (0, 8),
    (0.05, 80),
    (0.1, 135),
    (0.25, 255),
    (0.5, 560),
    (0.75, 1200),
    (0.95, 3000),
    (1, 6400),
)
DISK_MB_S: Spread = (
    (0, 18),
    (0.05, 210),
    (0.1, 330),
    (0.25, 1200),
    (0.5, 3100),
    (0.75, 5200),
    (0.95, 8000),
    (1, 31000),
)
CPU_RAM_GB_PER_GPU: dict[bool, Spread] = {
    True: ((0, 15), (0.1, 64), (0.25, 125), (0.5, 200), (0.75, 258), (0.95, 500), (1, 800)),
    False: ((0, 2), (0.1, 15), (0.25, 31), (0.5, 48), (0.75, 64), (0.95, 190), (1, 260)),
}
"""By whether the GPU is a datacenter card."""
PORTS: Spread = (
    (0, 1),
    (0.05, 19),
    (0.1, 49),
    (0.25, 99),
    (0.5, 250),
    (0.75, 1000),
    (0.9, 4000),
    (0.99, 20000),
    (1, 65533),
)
DURATION_S: Spread = (
    (0, 3.6e3), (0.01, 9e4), (0.05, 4e5), (0.1, 9e5), (0.25, 2.2e6), (0.5, 5.8e6), (0.75, 1.3e7), (0.9, 2.2e7),
    (0.97, 7e7), (0.999, 4e8), (1, 9e8),
)  # fmt: skip
"""How long an offer may still be rented."""
MIN_BID_SHARE: Spread = (
    (0, 0.05), (0.01, 0.2), (0.05, 0.38), (0.1, 0.48), (0.25, 0.65), (0.5, 0.86), (0.75, 0.99), (0.9, 1.0),
    (0.95, 1.3), (0.99, 3.0), (1, 15),
)  # fmt: skip
"""The lowest bid as a share of the on-demand price; some hosts set it above."""

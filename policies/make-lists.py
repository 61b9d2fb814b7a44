#!/usr/bin/env python3
"""Makes the prefix lists under policies/ that come from public data.

    ZERORATE_DATA=DIR python3 policies/make-lists.py [--asn DIR]

Prefixes of AS numbers come from the npm package @ip-location-db/asn, which npm packs into a
temporary directory (--asn takes an unpacked one). The rest is read from $ZERORATE_DATA/prefixes:
    country/kz-ipv{4,6}.txt                 ipverse/rir-ip: country/kz/ipv{4,6}-aggregated.txt
    services/telegram-ipv{4,6}_merged.txt   lord-alfred/ipranges: telegram/ipv{4,6}_merged.txt
    ix/tasix-2016-django-tasix.txt          muminoff/django-tasix: networks of tasix/network.py
An AS is taken only if the data name the holder written here: a number that changed hands stops the
script. Lists that only an operator can fill (operator.txt and the like) are not touched.
"""

import argparse
import csv
import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ASN_PACKAGE = "@ip-location-db/asn"
ASN_VERSION = "2.3.2026061719"
ASN_LICENCE = [
    "Licence: CC-BY-4.0; data by RouteViews (routeviews.org), the Number Resource Organization",
    "  (nro.net) and IP to ASN Lite by DB-IP (db-ip.com), merged by ip-location-db",
]
# The registries' block for the LANs of exchange points: no server answers from there.
EXCHANGE_LANS = ipaddress.ip_network("2001:7f8::/32")

NITEC = {n: "National Information Technologies Joint-Stock Company" for n in (15549, 48007)}
EDUCATION = {
    41419: "KazRENA",
    205667: "JSC Narxoz University",
    207507: 'Non-profit joint-stock company "Karaganda technical University"',
}
UZINFOCOM = {48979: "UZINFOCOM Single Integrator LLC"}
TELEGRAM = {n: "Telegram Messenger Inc" for n in (44907, 59930, 62014, 62041, 211157)}
WHATSAPP = {11917: "WhatsApp"}
META = {
    32934: "Facebook, Inc.",
    54115: "Facebook Inc",
    63293: "Facebook, Inc.",
    149642: "Facebook Singapore Pte Ltd.",
}
# The data call the holder of 47541 by the group's name; that it carries vk.com is assumed.
VKONTAKTE = {n: "VKontakte Ltd" for n in (47542, 62243, 207581)} | {47541: "LLC VK"}

POLICIES = Path(__file__).resolve().parent


def read_asn(directory):
    """AS number → (holder, prefixes), both IP versions."""
    found = defaultdict(lambda: ["", []])
    for name in ("asn-ipv4.csv", "asn-ipv6.csv"):
        with open(Path(directory, name), newline="", encoding="utf-8") as rows:
            for first, last, number, holder in csv.reader(rows):
                entry = found[int(number)]
                entry[0] = holder
                span = ipaddress.ip_address(first), ipaddress.ip_address(last)
                entry[1].extend(ipaddress.summarize_address_range(*span))
    return found


def of_as(asn, wanted):
    """All prefixes of the AS numbers in `wanted`, whose holders must be the ones it names."""
    prefixes = []
    for number, holder in wanted.items():
        if asn[number][0] != holder:
            sys.exit(f"AS{number}: expected holder {holder!r}, the data say {asn[number][0]!r}")
        prefixes += [p for p in asn[number][1] if p.version == 4 or not p.subnet_of(EXCHANGE_LANS)]
    return prefixes


def read_list(directory, *names):
    """One prefix a line; '#' starts a comment."""
    lines = [line for name in names for line in Path(directory, name).read_text().splitlines()]
    bare = (line.split("#")[0].strip() for line in lines)
    return [ipaddress.ip_network(line) for line in bare if line]


def aggregated(prefixes):
    """The fewest prefixes that cover the same addresses: IPv4 first, in order."""
    by_version = ([p for p in prefixes if p.version == v] for v in (4, 6))
    return [p for family in by_version for p in ipaddress.collapse_addresses(family)]


def inside(prefixes, outer):
    """`prefixes`, halved where `outer`, of another class, has the very same one: the longer win."""
    halved = []
    for prefix in prefixes:
        halved += inside(prefix.subnets(), outer) if prefix in outer else [prefix]
    return halved


def from_asn(wanted):
    """The header lines of a list made from AS numbers: one for each holder, then the licence."""
    numbers = defaultdict(list)
    for number, holder in wanted.items():
        numbers[holder].append(f"AS{number}")
    named = [f"  {holder}: {', '.join(its)}" for holder, its in numbers.items()]
    source = f"Source: {ASN_PACKAGE} {ASN_VERSION}, aggregated; holders as named there:"
    return [source, *named, *ASN_LICENCE]


def write(path, what, sources, prefixes):
    head = [*what, *sources, "Made by: ZERORATE_DATA=DIR python3 policies/make-lists.py"]
    text = "".join(f"# {line}\n" for line in head) + "".join(f"{p}\n" for p in prefixes)
    Path(POLICIES, path).write_text(text, encoding="utf-8")
    print(f"{path}: {len(prefixes)} prefixes")


def kz_emergency(asn, zone, telegram):
    write(
        "kz-emergency/kz-zone.txt",
        ["Addresses registered in Kazakhstan: an approximation of the national domain zone."],
        [
            "Source: ipverse/rir-ip, country/kz, of 2026-01-22 (IPv4) and 2026-01-09 (IPv6)",
            "Licence: CC0",
        ],
        zone,
    )
    halves = "A prefix that kz-zone.txt holds too stands here as its two halves."
    write(
        "kz-emergency/state-portal.txt",
        ["Networks of NITEC, which runs egov.kz, eGov Mobile and other state services.", halves],
        from_asn(NITEC),
        inside(aggregated(of_as(asn, NITEC)), zone),
    )
    write(
        "kz-emergency/education-networks.txt",
        ["Education network of Kazakhstan, and universities with an AS of their own.", halves],
        from_asn(EDUCATION),
        inside(aggregated(of_as(asn, EDUCATION)), zone),
    )
    messengers_and_social(asn, telegram, "kz-emergency")


def uz_shifokor(asn, tasix, telegram):
    write(
        "uz-shifokor/tasix.txt",
        [
            "Networks behind TAS-IX, the national exchange of Uzbekistan, as they were in 2016.",
            "Old: replace it by the routes your own router learns at the exchange.",
        ],
        [
            "Source: muminoff/django-tasix, aggregated",
            "Licence: BSD-3-Clause, Copyright (c) 2016, Sardor Muminov; see LICENSE.django-tasix",
        ],
        tasix,
    )
    write(
        "uz-shifokor/state.txt",
        [
            "Networks of UZINFOCOM, the state's integrator. Assumed: that the state resources of",
            "section 3 of the price list are there. The AS's exchange-point LAN is left out.",
            "A prefix that tasix.txt holds too stands here as its two halves.",
        ],
        from_asn(UZINFOCOM),
        inside(aggregated(of_as(asn, UZINFOCOM)), tasix),
    )
    messengers_and_social(asn, telegram, "uz-shifokor")


def messengers_and_social(asn, telegram, policy):
    wanted = TELEGRAM | WHATSAPP
    published = "Source: lord-alfred/ipranges, telegram: the list Telegram publishes; licence: CC0"
    write(
        f"{policy}/messengers.txt",
        ["Telegram and WhatsApp. WhatsApp answers from Meta's networks too: see social.txt."],
        [*from_asn(wanted), published],
        aggregated(of_as(asn, wanted) + telegram),
    )
    write(
        f"{policy}/social.txt",
        [
            "Meta (Facebook, Instagram, part of WhatsApp) and VKontakte.",
            "AS number assumed: AS47541 for vk.com; the data name its holder only as the group.",
        ],
        from_asn(META | VKONTAKTE),
        aggregated(of_as(asn, META | VKONTAKTE)),
    )


def packed_asn(scratch):
    """Unpacks the npm package below `scratch`."""
    command = ["npm", "pack", "--silent", f"{ASN_PACKAGE}@{ASN_VERSION}"]
    npm = subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.PIPE, text=True)
    shutil.unpack_archive(Path(scratch, npm.stdout.strip()), scratch)
    return Path(scratch, "package")


def main():
    arguments = argparse.ArgumentParser(description="Makes the lists that come from public data.")
    arguments.add_argument("--asn", metavar="DIR", help=f"{ASN_PACKAGE} {ASN_VERSION}, unpacked")
    unpacked = arguments.parse_args().asn
    if "ZERORATE_DATA" not in os.environ:
        sys.exit("set ZERORATE_DATA: its prefixes/ has country/, services/ and ix/")
    published = Path(os.environ["ZERORATE_DATA"], "prefixes")
    zone = read_list(published, "country/kz-ipv4.txt", "country/kz-ipv6.txt")
    telegram_lists = [f"services/telegram-ipv{version}_merged.txt" for version in (4, 6)]
    telegram = read_list(published, *telegram_lists)
    tasix = read_list(published, "ix/tasix-2016-django-tasix.txt")

    with tempfile.TemporaryDirectory() as scratch:
        asn = read_asn(unpacked or packed_asn(scratch))
    kz_emergency(asn, aggregated(zone), telegram)
    uz_shifokor(asn, aggregated(tasix), telegram)


if __name__ == "__main__":
    main()

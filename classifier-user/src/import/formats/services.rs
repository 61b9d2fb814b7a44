//! The JSON lists that providers of clouds, networks and software publish. Which provider's it is shows in the names
//! of its fields; what is none of them is an error, not an empty list.
//!
//! | list | fields |
//! |---|---|
//! | AWS `ip-ranges.json` | `prefixes[].ip_prefix`, `ipv6_prefixes[].ipv6_prefix`, `service`, `region` |
//! | Google `goog.json`, `cloud.json` | `prefixes[].ipv4Prefix`, `ipv6Prefix`, `service`, `scope` |
//! | Azure service tags | `values[].name`, `properties.addressPrefixes`, `systemService`, `region` |
//! | Microsoft 365 endpoints | `[].serviceArea`, `ips` |
//! | Cloudflare `/client/v4/ips` | `result.ipv4_cidrs`, `ipv6_cidrs` |
//! | Fastly `public-ip-list` | `addresses`, `ipv6_addresses` |
//! | Oracle `public_ip_ranges.json` | `regions[].region`, `cidrs[].cidr`, `tags` |
//! | GitHub `/meta` | a list of prefixes for each service |

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::json::{self, Net};
use crate::diagnostic::Diagnostics;
use crate::import::gathered::Gathered;
use crate::import::request::Key;
use crate::policy::SourceFile;

pub(super) fn read(source: &SourceFile, into: &mut Gathered, out: &mut Diagnostics) {
    if source.text().trim_start().starts_with('[') {
        if let Some(areas) = json::read::<Vec<Area>>(source, out) {
            for area in areas {
                let service = area.service_area.unwrap_or_default();
                add(into, &[&service], "", area.ips);
            }
        }
        return;
    }
    let Some(fields) = json::read::<BTreeMap<String, IgnoredAny>>(source, out) else {
        return;
    };
    let has = |name| fields.contains_key(name);
    if has("prefixes") {
        with(source, into, out, prefixes);
    } else if has("values") {
        with(source, into, out, tags);
    } else if has("result") {
        with(source, into, out, |reply: Reply, into| {
            add(into, &[], "", reply.result.ipv4_cidrs);
            add(into, &[], "", reply.result.ipv6_cidrs);
        });
    } else if has("addresses") {
        with(source, into, out, |list: Addresses, into| {
            add(into, &[], "", list.addresses);
            add(into, &[], "", list.ipv6_addresses);
        });
    } else if has("regions") {
        with(source, into, out, |list: Regions, into| {
            for region in list.regions {
                for cidr in region.cidrs {
                    let tags: Vec<&str> = cidr.tags.iter().map(String::as_str).collect();
                    add(into, &tags, &region.region, [cidr.cidr]);
                }
            }
        });
    } else if has("verifiable_password_authentication") || has("hooks") {
        github(source, into, out);
    } else {
        out.error(
            source.at(1, 1),
            "unknown-list",
            "this is JSON, and no list that is known",
            "known are those of AWS, Google, Azure, Microsoft 365, Cloudflare, Fastly, Oracle and GitHub; make a text of others (jq -r)",
        );
    }
}

fn with<T: serde::de::DeserializeOwned>(
    source: &SourceFile,
    into: &mut Gathered,
    out: &mut Diagnostics,
    each: impl FnOnce(T, &mut Gathered),
) {
    if let Some(list) = json::read(source, out) {
        each(list, into);
    }
}

/// Adds `nets` if they are of a service and a region that are wanted.
fn add(into: &mut Gathered, services: &[&str], region: &str, nets: impl IntoIterator<Item = Net>) {
    let wanted = [
        into.wants(Key::Service, services.iter().copied()),
        into.wants(
            Key::Region,
            [region].into_iter().filter(|name| !name.is_empty()),
        ),
    ];
    if wanted == [true; 2] {
        nets.into_iter().for_each(|net| into.add(net.0));
    }
}

/// AWS and Google.
#[derive(Deserialize)]
struct Prefixes {
    prefixes: Vec<Prefix>,
    #[serde(default)]
    ipv6_prefixes: Vec<Prefix>,
}

#[derive(Deserialize)]
struct Prefix {
    #[serde(
        rename = "ip_prefix",
        alias = "ipv4Prefix",
        alias = "ipv6_prefix",
        alias = "ipv6Prefix"
    )]
    net: Net,
    #[serde(default)]
    service: String,
    #[serde(default, alias = "scope")]
    region: String,
}

fn prefixes(list: Prefixes, into: &mut Gathered) {
    for prefix in list.prefixes.into_iter().chain(list.ipv6_prefixes) {
        add(into, &[&prefix.service], &prefix.region, [prefix.net]);
    }
}

/// Azure.
#[derive(Deserialize)]
struct Tags {
    values: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    address_prefixes: Vec<Net>,
    #[serde(default)]
    system_service: String,
    #[serde(default)]
    region: String,
}

fn tags(list: Tags, into: &mut Gathered) {
    for Tag { name, properties } in list.values {
        let names = [name.as_str(), properties.system_service.as_str()];
        let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
        add(
            into,
            &names,
            &properties.region,
            properties.address_prefixes,
        );
    }
}

/// Microsoft 365.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Area {
    service_area: Option<String>,
    #[serde(default)]
    ips: Vec<Net>,
}

/// Cloudflare.
#[derive(Deserialize)]
struct Reply {
    result: Cidrs,
}

#[derive(Deserialize)]
struct Cidrs {
    ipv4_cidrs: Vec<Net>,
    ipv6_cidrs: Vec<Net>,
}

/// Fastly.
#[derive(Deserialize)]
struct Addresses {
    addresses: Vec<Net>,
    ipv6_addresses: Vec<Net>,
}

/// Oracle.
#[derive(Deserialize)]
struct Regions {
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    region: String,
    cidrs: Vec<Cidr>,
}

#[derive(Deserialize)]
struct Cidr {
    cidr: Net,
    #[serde(default)]
    tags: Vec<String>,
}

/// Services by name, beside keys and names of domains.
fn github(source: &SourceFile, into: &mut Gathered, out: &mut Diagnostics) {
    let Some(fields) = json::read::<BTreeMap<String, Value>>(source, out) else {
        return;
    };
    for (service, list) in &fields {
        let texts = list.as_array().into_iter().flatten();
        let texts: Option<Vec<&str>> = texts.map(Value::as_str).collect();
        let Some(texts) = texts else { continue };
        let nets: Vec<Net> = texts
            .iter()
            .filter_map(|text| super::prefix(text).ok().map(Net))
            .collect();
        if nets.is_empty() {
            continue;
        }
        if nets.len() < texts.len() {
            let bad = texts.iter().find(|text| super::prefix(text).is_err());
            let bad = bad.copied().unwrap_or_default();
            let offset = source.text().find(bad).unwrap_or_default();
            out.error(
                source.place(offset),
                "bad-prefix",
                format!("{bad:?} in {service:?} is no prefix"),
                "fetch the list again, or correct it",
            );
            continue;
        }
        add(into, &[service], "", nets);
    }
}

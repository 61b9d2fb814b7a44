//! A publication as a page of HTML in one language: whole in itself, without scripts, fonts or images from elsewhere, in the
//! order in which it is read aloud, and fit to be printed. All text is escaped where it is written.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::changes::{Changed, Deed};
use super::content::{Kind, Service, Titled};
use super::{Publication, plan};
use crate::language::{Language, Phrases};
use crate::policy::Titles;

/// How pages look, on screens and on paper.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}\
table{border-collapse:collapse;margin:1rem 0;width:100%}\
caption{font-weight:bold;text-align:start}\
th,td{border:1px solid;padding:.3rem .5rem;text-align:start;vertical-align:top}\
.n{text-align:end;white-space:nowrap}\
tfoot{font-weight:bold}\
@media print{:root{color-scheme:light}nav{display:none}body{max-width:none;padding:0}\
section,tr{break-inside:avoid}a{color:inherit;text-decoration:none}}";

/// A whole document.
pub(crate) fn document(language: Language, title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    let mut page = page.into_string();
    page.push('\n');
    page
}

/// What a page is written with.
pub(super) struct Writer<'a> {
    pub(super) publication: &'a Publication,
    pub(super) language: Language,
    pub(super) phrases: &'static Phrases,
    pub(super) zone: TimeZone,
}

impl<'a> Writer<'a> {
    /// A title, or else the name.
    pub(super) fn title(&self, titles: Option<&'a Titles>, name: &'a str) -> &'a str {
        let title = titles.and_then(|titles| titles.get(self.language));
        title.unwrap_or(name)
    }

    pub(super) fn titled(&self, titled: &'a Titled) -> &'a str {
        self.title(Some(&titled.titles), &titled.name)
    }

    pub(super) fn class(&self, name: &'a str) -> &'a str {
        self.title(self.publication.content.names.classes.get(name), name)
    }

    pub(super) fn package(&self, name: &'a str) -> &'a str {
        self.title(self.publication.content.names.packages.get(name), name)
    }

    pub(super) fn plan(&self, name: &'a str) -> &'a str {
        let plan = self.publication.content.plan(name);
        plan.map_or(name, |plan| self.titled(&plan.plan))
    }

    pub(super) fn time(&self, time: Timestamp) -> Markup {
        html! { time datetime=(time) { (self.language.time(time, &self.zone)) } }
    }

    /// What is in a package.
    pub(super) fn holds(&self, holds: &Kind) -> String {
        match (holds, holds.price()) {
            (Kind::Volume { bytes: 0 }, _) => self.phrases.bought.to_owned(),
            (Kind::Volume { bytes }, _) => self.language.volume(*bytes),
            (Kind::Money { .. }, Some((amount, currency, bytes))) => {
                let amount = self.language.decimal(&amount);
                let price = format!("{amount}\u{a0}{currency}/{}", self.language.unit(bytes));
                fill(self.phrases.money, &[("price", &price)])
            }
            (Kind::Money { price }, None) => fill(self.phrases.money, &[("price", price)]),
        }
    }
}

/// A phrase with words in place of their names in braces, in one go: what a title holds is never taken for a name.
pub(super) fn fill(phrase: &str, words: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = phrase;
    while let Some((before, behind)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        let word = words.iter().find(|(known, _)| *known == name);
        out.push_str(word.map_or("", |(_, word)| word));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The page of a publication in a language; `languages` are those there are pages in.
#[must_use]
pub fn page(publication: &Publication, language: Language, languages: &[Language]) -> String {
    let writer = Writer {
        publication,
        language,
        phrases: language.phrases(),
        zone: TimeZone::get(&publication.timezone).unwrap_or(TimeZone::UTC),
    };
    let (phrases, content) = (writer.phrases, &publication.content);
    let policy = writer.titled(&content.policy);
    let body = html! {
        header {
            @if languages.len() > 1 {
                nav aria-label=(phrases.languages) {
                    @for other in languages.iter().filter(|other| **other != language) {
                        a href={ (other) ".html" } lang=(other.tag()) hreflang=(other.tag()) { (other.own_name()) }
                        " "
                    }
                }
            }
            h1 { (policy) ": " (phrases.page) }
            p { (phrases.published) " " (writer.time(publication.published)) ". " (phrases.times) " " (publication.timezone) "." }
            @if let Some(basis) = &content.basis {
                p { (phrases.basis) ": " (basis) }
            }
        }
        main {
            section aria-labelledby="changes" {
                h2 id="changes" { (phrases.changes) }
                (changes(&writer))
            }
            section aria-labelledby="plans" {
                h2 id="plans" { (phrases.plans) }
                @for (number, facts) in (1..).zip(&content.plans) {
                    (plan::section(&writer, number, facts))
                }
            }
            section aria-labelledby="services" {
                h2 id="services" { (phrases.services) }
                (services(&writer))
            }
            section aria-labelledby="restrictions" {
                h2 id="restrictions" { (phrases.restrictions) }
                (restrictions(&writer))
            }
        }
    };
    document(language, &format!("{policy}: {}", phrases.page), &body)
}

fn services(writer: &Writer<'_>) -> Markup {
    let (phrases, services) = (writer.phrases, &writer.publication.content.services);
    let row = |service: &Service| {
        let plans: Vec<&str> = service.plans.iter().map(|plan| writer.plan(plan)).collect();
        html! {
            tr {
                th scope="row" { (writer.titled(&service.service)) }
                td { (writer.class(&service.class)) }
                td { (plans.join(", ")) }
                td { (writer.time(service.since)) }
                td {
                    @match service.until {
                        Some(until) => (writer.time(until)),
                        None => (phrases.no_end),
                    }
                }
            }
        }
    };
    html! {
        @if services.is_empty() {
            p { (phrases.no_services) }
        } @else {
            table {
                thead {
                    tr {
                        @for head in [phrases.service, phrases.class, phrases.under_plans, phrases.since, phrases.until] {
                            th scope="col" { (head) }
                        }
                    }
                }
                tbody { @for service in services { (row(service)) } }
            }
        }
    }
}

fn restrictions(writer: &Writer<'_>) -> Markup {
    let (phrases, plans) = (writer.phrases, &writer.publication.content.plans);
    let charges = || plans.iter().flat_map(|plan| &plan.charges);
    let drops = charges().any(|charge| charge.end == "drop" || charge.limit.is_some());
    let gated = plans.iter().any(|plan| !plan.gate.is_empty());
    let mut essential: Vec<&str> = charges()
        .filter(|charge| charge.essential)
        .map(|charge| writer.class(&charge.class))
        .collect();
    essential.sort_unstable();
    essential.dedup();
    html! {
        ul {
            li { (phrases.by_volume) }
            li { (phrases.by_address) }
            li { (phrases.by_tunnel) }
            @if drops || gated {
                li { (phrases.cut_off) }
            }
            @if !essential.is_empty() {
                li { (phrases.essential) ": " (essential.join(", ")) "." }
            }
        }
    }
}

fn changes(writer: &Writer<'_>) -> Markup {
    let (phrases, publication) = (writer.phrases, writer.publication);
    let Some(previous) = publication.previous else {
        return html! { p { (phrases.first) } };
    };
    html! {
        p { (phrases.changes_since) " " (writer.time(previous)) }
        @if publication.changes.is_empty() {
            p { (phrases.unchanged) }
        } @else {
            ul { @for changed in &publication.changes { li { (told(writer, changed)) } } }
        }
    }
}

/// A change in words.
fn told(writer: &Writer<'_>, changed: &Changed) -> String {
    let phrases = writer.phrases;
    let called = |titled: &Option<Titled>| {
        titled
            .as_ref()
            .map_or_else(String::new, |titled| writer.titled(titled).to_owned())
    };
    let (plan, subject) = (called(&changed.plan), called(&changed.subject));
    let (phrase, from, to) = match &changed.deed {
        Deed::PlanAdded => (phrases.plan_added, None, None),
        Deed::PlanRemoved => (phrases.plan_removed, None, None),
        Deed::PlanClosed => (phrases.plan_closed, None, None),
        Deed::PlanOpened => (phrases.plan_opened, None, None),
        Deed::PlanMoved => (phrases.plan_moved, None, None),
        Deed::PlanChanged => (phrases.plan_changed, None, None),
        Deed::PackageAdded { to } => (phrases.package_added, None, Some(to)),
        Deed::PackageRemoved => (phrases.package_removed, None, None),
        Deed::PackageChanged { from, to } => (phrases.package_changed, Some(from), Some(to)),
        Deed::BecameFree => (phrases.became_free, None, None),
        Deed::NoLongerFree => (phrases.no_longer_free, None, None),
        Deed::ServiceAdded => (phrases.service_added, None, None),
        Deed::ServiceRemoved => (phrases.service_removed, None, None),
        Deed::ServiceMoved => (phrases.service_moved, None, None),
    };
    let holds = |kind: Option<&Kind>| kind.map_or_else(String::new, |kind| writer.holds(kind));
    let words = [
        ("plan", &*plan),
        ("package", &*subject),
        ("service", &*subject),
        ("from", &*holds(from)),
        ("to", &*holds(to)),
    ];
    fill(phrase, &words)
}

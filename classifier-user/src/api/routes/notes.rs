//! What people record: outages, and corrections of records. Each has an id of the caller's, and is recorded once.
//!
//! The bodies are flat, as the records are, and every field is known by name: a misspelt `subscribers` would else make one
//! subscriber's outage everybody's.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::records::notes::{NewCorrection, NewOutage, NoteError};
use crate::agent::records::statement::parse_time;
use crate::api::extract::Json;
use crate::api::problem::{Answer, Problem};
use crate::api::server::{Shared, with};
use crate::api::times::zone;
use crate::ledger::notes::{Corrected, Correction, Fault, Outage, Scope};
use crate::ledger::records::Record;

/// What an outage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutageOf {
    /// The gateway.
    Node,
    /// The interface that `interface` names, or what is behind it.
    Interface,
    /// The service class that `class` names.
    Class,
    /// The service of the `subscribers`.
    Subscribers,
}

/// An outage, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOutage)]
pub struct OutageRequest {
    /// The caller's id: an outage is recorded once, however often it is sent.
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// What was out.
    pub scope: OutageOf,
    /// Name of the interface, with `"scope": "interface"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Name of the class, with `"scope": "class"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Ids of those who were without service; everybody where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribers: Vec<String>,
    /// It began,
    pub from: String,
    /// and ended: times such as `2026-03-01T00:00:00+05:00`, or dates in the configured time zone, which are their first moments.
    pub to: String,
    /// What happened.
    #[schema(min_length = 1, max_length = 512)]
    pub cause: String,
    /// Whose fault it was.
    pub fault: Fault,
    /// What is to be noted beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub reason: Option<String>,
}

impl OutageRequest {
    fn meant(self, zone: &TimeZone) -> Result<NewOutage, String> {
        let scope = match (self.scope, self.interface, self.class) {
            (OutageOf::Node, None, None) => Scope::Node,
            (OutageOf::Subscribers, None, None) => Scope::Subscribers,
            (OutageOf::Interface, Some(interface), None) => Scope::Interface { interface },
            (OutageOf::Class, None, Some(class)) => Scope::Class { class },
            (OutageOf::Interface, None, _) => {
                return Err("say which interface it was of: `interface`".to_owned());
            }
            (OutageOf::Class, _, None) => {
                return Err("say which class it was of: `class`".to_owned());
            }
            _ => {
                let too_much = "`interface` goes with the scope `interface` and `class` with the scope `class`, and neither \
                    with another: an outage is of one of them, two outages are recorded as two";
                return Err(too_much.to_owned());
            }
        };
        Ok(NewOutage {
            id: self.id,
            reason: self.reason,
            outage: Outage {
                scope,
                subscribers: self.subscribers,
                from: parse_time(&self.from, zone)?,
                to: parse_time(&self.to, zone)?,
                cause: self.cause,
                fault: self.fault,
            },
        })
    }
}

/// What a record should have said, to be recorded: of usage the four numbers, of an outage `from` and `to`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCorrection)]
pub struct CorrectionRequest {
    /// The caller's id: a correction is recorded once, however often it is sent.
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// Number of the record.
    pub corrects: u64,
    /// Who approved it.
    #[schema(min_length = 1, max_length = 128)]
    pub approver: String,
    /// Why.
    #[schema(min_length = 1, max_length = 512)]
    pub reason: String,
    /// IP bytes sent since the meter's record before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_up: Option<u64>,
    /// IP bytes received since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_down: Option<u64>,
    /// Packets sent since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_up: Option<u64>,
    /// Packets received since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_down: Option<u64>,
    /// The outage began,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// and ended; the same as `from` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl CorrectionRequest {
    fn meant(self, zone: &TimeZone) -> Result<NewCorrection, String> {
        let bytes = (self.bytes_up, self.bytes_down);
        let packets = (self.packets_up, self.packets_down);
        let right = match (bytes, packets, (self.from, self.to)) {
            (
                (Some(bytes_up), Some(bytes_down)),
                (Some(packets_up), Some(packets_down)),
                (None, None),
            ) => Corrected::Usage {
                bytes_up,
                bytes_down,
                packets_up,
                packets_down,
            },
            ((None, None), (None, None), (Some(from), Some(to))) => Corrected::Outage {
                from: parse_time(&from, zone)?,
                to: parse_time(&to, zone)?,
            },
            _ => {
                let other = "say what is right: of a record of usage all of `bytes_up`, `bytes_down`, `packets_up` and \
                    `packets_down`; of an outage `from` and `to`; and nothing of the other";
                return Err(other.to_owned());
            }
        };
        Ok(NewCorrection {
            id: self.id,
            reason: self.reason,
            correction: Correction {
                corrects: self.corrects,
                approver: self.approver,
                right,
            },
        })
    }
}

/// Records an outage, once for each id.
///
/// It is in the statements of those whose sessions it touched; the time is creditable where it was the operator's fault.
#[utoipa::path(
    post,
    path = "/v1/outages",
    tag = "records",
    request_body = OutageRequest,
    responses(
        (status = 200, description = "The record; the same again for the same outage.", body = Record),
        (status = 409, description = "The id is another record's; both are told."),
        (status = 422, description = "It cannot have been, or is of nothing that is there."),
        (status = 503, description = "It cannot be written down."),
    )
)]
pub(super) async fn outage(
    State(node): State<Shared>,
    Json(new): Json<OutageRequest>,
) -> Answer<Json<Record>> {
    let new = new.meant(&zone(&node).await).map_err(Problem::invalid)?;
    told(with(node, move |node| node.outage(new)).await)
}

/// Records what another record should have said, once for each id. That record and all sums stay as they are.
#[utoipa::path(
    post,
    path = "/v1/corrections",
    tag = "records",
    request_body = CorrectionRequest,
    responses(
        (status = 200, description = "The record of the correction; the same again for the same one.", body = Record),
        (status = 404, description = "There is no record of this number."),
        (status = 409, description = "The id is another record's; both are told."),
        (status = 422, description = "The record cannot be corrected so."),
        (status = 503, description = "It cannot be written down."),
    )
)]
pub(super) async fn correction(
    State(node): State<Shared>,
    Json(new): Json<CorrectionRequest>,
) -> Answer<Json<Record>> {
    let new = new.meant(&zone(&node).await).map_err(Problem::invalid)?;
    told(with(node, move |node| node.correct(new)).await)
}

fn told(noted: Result<Record, NoteError>) -> Answer<Json<Record>> {
    noted.map(Json).map_err(|error| {
        let status = match &error {
            NoteError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            NoteError::Unknown(_) => StatusCode::NOT_FOUND,
            NoteError::Conflict(_) => StatusCode::CONFLICT,
            NoteError::Ledger(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_or_by_halves_is_refused() {
        let outage = |rest: &str| {
            let json = format!(
                r#"{{"id": "o", "from": "2026-03-01T00:00:00Z", "to": "2026-03-01T01:00:00Z", "cause": "digger",
                    "fault": "third_party", {rest}}}"#
            );
            let new: OutageRequest =
                serde_json::from_str(&json).map_err(|error| error.to_string())?;
            new.meant(&TimeZone::UTC).map(|new| new.outage.scope)
        };
        assert_eq!(outage(r#""scope": "node""#), Ok(Scope::Node));
        let interface = "core0".to_owned();
        assert_eq!(
            outage(r#""scope": "interface", "interface": "core0""#),
            Ok(Scope::Interface { interface })
        );
        for (rest, expected) in [
            (r#""scope": "interface""#, "which interface"),
            (r#""scope": "class", "interface": "core0""#, "which class"),
            (r#""scope": "node", "class": "chats""#, "one of them"),
            (
                r#""scope": "subscribers", "subscriber": ["ann"]"#,
                "unknown field `subscriber`",
            ),
        ] {
            let refused = outage(rest).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let whole = CorrectionRequest {
            bytes_up: Some(1),
            bytes_down: Some(2),
            packets_up: Some(1),
            packets_down: Some(1),
            ..CorrectionRequest::default()
        };
        assert!(whole.clone().meant(&TimeZone::UTC).is_ok());
        let half = CorrectionRequest {
            packets_up: None,
            ..whole.clone()
        };
        let both = CorrectionRequest {
            from: Some("1970-01-01".to_owned()),
            ..whole
        };
        for wrong in [half, both, CorrectionRequest::default()] {
            assert!(
                wrong
                    .meant(&TimeZone::UTC)
                    .unwrap_err()
                    .contains("say what is right")
            );
        }
    }
}

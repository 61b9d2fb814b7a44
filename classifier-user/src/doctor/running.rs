//! The agent, if one answers: whether it is of this version, and in order.

use hyper::Method;

use super::Finding;
use crate::agent::views::Status;
use crate::api::client::{ApiError, ask};
use crate::config::Config;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let status: Status = match ask(&config.api.socket, Method::GET, "/v1/status") {
        Ok(status) => status,
        Err(ApiError::Unreachable { socket, .. }) => {
            let found = format!("none answers on {}", socket.display());
            return vec![Finding::note("agent", found).advice("`zerorate run` starts it")];
        }
        Err(error) => return vec![Finding::error("agent", error.to_string())],
    };
    let ours = env!("CARGO_PKG_VERSION");
    let mut found = vec![if status.version == ours {
        Finding::ok("agent", format!("{} answers, version {ours}", status.node))
    } else {
        Finding::warning(
            "agent",
            format!("it is version {}, and this is {ours}", status.version),
        )
        .advice("restart it: the new one takes over without a gap")
    }];
    let disorder = status.disorder();
    if disorder.is_empty() {
        found.push(Finding::ok("agent", "in order"));
    }
    found.extend(disorder.into_iter().map(|what| {
        Finding::error("agent", what)
            .advice("`zerorate status` has all of it, docs/operations.md what to do")
    }));
    found
}

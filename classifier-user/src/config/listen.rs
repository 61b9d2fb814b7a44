//! An address to listen on, which is nothing without its port.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de};

/// Reads an address with its port.
pub(super) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        de::Error::custom(format!(
            "`{text}` is no address to listen on: write address:port, as in 127.0.0.1:9464 or [::1]:9464"
        ))
    })
}

/// Reads one that may be left out.
pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    address(from).map(Some)
}

//! Where records are brought, and whether they are all there.

pub mod files;
pub mod postgres;

//! What carries a verdict out: this process ([`native`]), or the kernel ([`crate::datapath`]). Both count in
//! [`lines`].

pub mod lines;
pub mod native;

#[cfg(test)]
mod tests;

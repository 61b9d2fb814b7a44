//! The kernel's side of the program: maps, programs, links. All unsafe code of user space is in [`sys`].

pub mod aside_map;
pub mod batches_map;
pub mod clsact;
pub mod events_map;
pub mod grace;
pub mod image_map;
pub mod links;
pub mod live_image;
pub mod maps;
pub mod object;
pub mod rows_map;
pub mod sys;
pub mod way;

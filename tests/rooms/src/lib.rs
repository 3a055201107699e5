//! The direction of dependencies, read from the sources: which files of a crate use which, whether
//! a room uses one above it (`rooms.toml`), whether files use each other in a circle, and which
//! crates a crate names.
//!
//! What counts as use (docs/decisions/rooms.md): a path, in an import or in code, to something that
//! another file defines. A re-export is no use by the file that has it, and leads those who go
//! through it to where the thing is defined. A file that imports from the file that declares it
//! uses it. What is built for tests alone is bound by the order of rooms, but may be part of a
//! circle.

#![forbid(unsafe_code)]

pub mod arrows;
pub mod circles;
pub mod manifests;
pub mod order;
pub mod paths;
pub mod report;
pub mod source;
pub mod table;

//! The order of a crate's rooms, and what goes against it.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::{Result, bail};

/// Rooms in layers, the top one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// As it is written.
    text: String,
    layers: Vec<Vec<String>>,
    /// A room and one of its own layer that it may use.
    beside: BTreeSet<(String, String)>,
}

/// What is wrong with an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It goes to a room above.
    Up,
    /// It goes to another room of the same layer.
    Sideways,
    /// The room that it comes from, or the one that it goes to, has no place.
    Unknown,
}

/// Rooms that are above all others unless the order says otherwise: the roots of the library and of
/// programs.
const ROOTS: [&str; 3] = ["lib", "main", "bin"];

impl Order {
    /// Reads `top > middle, beside > bottom`, and further arrows within a layer, `from > to` each.
    ///
    /// # Errors
    ///
    /// A room stands in it twice, or an arrow is not within one layer.
    pub fn parse(order: &str, beside: &[String]) -> Result<Self> {
        let names = |text: &str, by: char| -> Vec<String> {
            text.split(by).map(|name| name.trim().to_owned()).collect()
        };
        let layers: Vec<Vec<String>> = order.split('>').map(|layer| names(layer, ',')).collect();
        let mut seen = BTreeSet::new();
        for room in layers.iter().flatten() {
            if room.is_empty() || !seen.insert(room) {
                bail!("the order `{order}` has `{room}` twice, or a gap");
            }
        }
        let mut arrows = BTreeSet::new();
        for arrow in beside {
            let within = |from: &String, to: &String| {
                let mut layers = layers.iter();
                layers.any(|layer| layer.contains(from) && layer.contains(to))
            };
            match names(arrow, '>').as_slice() {
                [from, to] if from != to && within(from, to) => {
                    arrows.insert((from.clone(), to.clone()));
                }
                _ => bail!("`{arrow}` is not `from > to` within a layer of `{order}`"),
            }
        }
        let mut order = Self {
            text: order.to_owned(),
            layers,
            beside: arrows,
        };
        for root in ROOTS {
            if order.layer(root).is_none() {
                order.layers.insert(0, vec![root.to_owned()]);
            }
        }
        Ok(order)
    }

    fn layer(&self, room: &str) -> Option<usize> {
        self.layers
            .iter()
            .position(|layer| layer.iter().any(|name| name == room))
    }

    /// Rooms that the order names.
    pub fn rooms(&self) -> impl Iterator<Item = &str> {
        let rooms = self.layers.iter().flatten().map(String::as_str);
        rooms.filter(|room| !ROOTS.contains(room))
    }

    /// What is wrong with something in room `from` using something in room `to`, if anything is.
    #[must_use]
    pub fn wrong(&self, from: &str, to: &str) -> Option<Wrong> {
        if from == to {
            return None;
        }
        let (Some(upper), Some(lower)) = (self.layer(from), self.layer(to)) else {
            return Some(Wrong::Unknown);
        };
        match upper.cmp(&lower) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Greater => Some(Wrong::Up),
            std::cmp::Ordering::Equal => {
                let allowed = self.beside.contains(&(from.to_owned(), to.to_owned()));
                (!allowed).then_some(Wrong::Sideways)
            }
        }
    }

    /// Whether the order has a place for a room.
    #[must_use]
    pub fn knows(&self, room: &str) -> bool {
        self.layer(room).is_some()
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The room of a file, whose path is relative to its package: `src/vm.rs` and all in `src/vm/` are
/// in `vm`.
#[must_use]
pub fn room(file: &Path) -> String {
    let below = file.strip_prefix("src").unwrap_or(file);
    match below.components().next() {
        Some(Component::Normal(first)) => Path::new(first).with_extension("").display().to_string(),
        _ => String::new(),
    }
}

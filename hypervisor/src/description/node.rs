//! A node of the tree with its path, so that errors can say where.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use addresses::Pa;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{FromPropertyValue, Node, Property};

use crate::description::error::{DescriptionError, Problem};
use crate::description::range::Range;

pub(super) struct DescribedNode<'a> {
    fdt: Fdt<'a>,
    node: FdtNode<'a>,
    /// Empty for the root.
    path: String,
}

impl<'a> DescribedNode<'a> {
    pub(super) fn root(fdt: Fdt<'a>) -> Self {
        Self {
            fdt,
            node: fdt.root(),
            path: String::new(),
        }
    }

    pub(super) fn name(&self) -> &'a str {
        self.node.name()
    }

    /// Whether the name, without a unit address, is `name`.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.node.name_without_address() == name
    }

    pub(super) fn is_compatible(&self, wanted: &str) -> bool {
        self.node
            .compatible()
            .is_some_and(|mut names| names.any(|name| name == wanted))
    }

    /// Whether the node is there for the non-secure world. QEMU marks what only the secure world
    /// has with `secure-status`.
    pub(super) fn is_enabled(&self) -> bool {
        let okay = match self.text("status") {
            Ok(status) => matches!(status, None | Some("okay" | "ok")),
            Err(_) => false,
        };
        okay && !self.has("secure-status")
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Self> {
        self.node.children().map(|child| self.below(child))
    }

    pub(super) fn child(&self, name: &str) -> Option<Self> {
        self.node.child(name).map(|child| self.below(child))
    }

    pub(super) fn required_child(&self, name: &'static str) -> Result<Self, DescriptionError> {
        self.child(name).ok_or_else(|| self.without(name))
    }

    /// The node at `path`, which may be one of /aliases.
    pub(super) fn find(&self, path: &str) -> Option<Self> {
        let aliases = self.fdt.find_node("/aliases");
        let alias = aliases.and_then(|aliases| aliases.property(path)?.value_as::<&str>().ok());
        let path = alias.unwrap_or(path);
        self.fdt.find_node(path).map(|node| Self {
            fdt: self.fdt,
            node,
            path: path.to_owned(),
        })
    }

    pub(super) fn has(&self, property: &str) -> bool {
        self.node.property(property).is_some()
    }

    pub(super) fn text(&self, property: &'static str) -> Result<Option<&'a str>, DescriptionError> {
        let text = self.value::<&str>(property)?;
        match text {
            Some(text) if text.contains('\0') => Err(self.error(property, Problem::Malformed)),
            text => Ok(text),
        }
    }

    pub(super) fn bytes(&self, property: &str) -> Option<&'a [u8]> {
        self.node.property(property)?.value_as().ok()
    }

    /// A number of one cell.
    pub(super) fn number(&self, property: &'static str) -> Result<Option<u32>, DescriptionError> {
        self.value(property)
    }

    /// A number of two cells.
    pub(super) fn long_number(
        &self,
        property: &'static str,
    ) -> Result<Option<u64>, DescriptionError> {
        self.value(property)
    }

    /// Numbers of one cell each.
    pub(super) fn numbers(
        &self,
        property: &'static str,
    ) -> Result<Option<Vec<u32>>, DescriptionError> {
        self.value(property)
    }

    /// The value that stands for the text of the property, which is one of `known`.
    pub(super) fn one_of<T: Copy>(
        &self,
        property: &'static str,
        known: &[(&str, T)],
    ) -> Result<Option<T>, DescriptionError> {
        let Some(text) = self.text(property)? else {
            return Ok(None);
        };
        match known.iter().find(|(name, _)| *name == text) {
            Some(&(_, value)) => Ok(Some(value)),
            None => Err(self.error(property, Problem::Unknown(text.to_owned()))),
        }
    }

    /// `value`, which was read from `property`, if it is there.
    pub(super) fn required<T>(
        &self,
        property: &'static str,
        value: Option<T>,
    ) -> Result<T, DescriptionError> {
        value.ok_or_else(|| self.error(property, Problem::Missing))
    }

    /// All entries of `reg`, none of which is empty or wraps.
    pub(super) fn ranges(&self) -> Result<Vec<Range>, DescriptionError> {
        let malformed = || self.error("reg", Problem::Malformed);
        let reg = self.node.reg().map_err(|_| malformed())?;
        let mut ranges = Vec::new();
        for entry in self.required("reg", reg)? {
            let start = entry.address::<u64>().map_err(|_| malformed())?;
            let len = entry.size::<u64>().map_err(|_| malformed())?;
            if len == 0 || start.checked_add(len).is_none() {
                return Err(malformed());
            }
            ranges.push(Range {
                start: Pa(start),
                len,
            });
        }
        Ok(ranges)
    }

    /// The address in the first entry of `reg`, whatever its size.
    pub(super) fn first_address(&self) -> Result<u64, DescriptionError> {
        let malformed = || self.error("reg", Problem::Malformed);
        let reg = self.node.reg().map_err(|_| malformed())?;
        let first = self.required("reg", reg)?.next().ok_or_else(malformed)?;
        first.address::<u64>().map_err(|_| malformed())
    }

    pub(super) fn error(&self, property: &'static str, problem: Problem) -> DescriptionError {
        DescriptionError {
            property: Some(property),
            ..self.broken(problem)
        }
    }

    pub(super) fn broken(&self, problem: Problem) -> DescriptionError {
        let node = if self.path.is_empty() {
            "/".to_owned()
        } else {
            self.path.clone()
        };
        DescriptionError {
            node,
            property: None,
            problem,
        }
    }

    pub(super) fn without(&self, what: &'static str) -> DescriptionError {
        self.broken(Problem::Without(what))
    }

    fn value<T: FromPropertyValue<'a>>(
        &self,
        property: &'static str,
    ) -> Result<Option<T>, DescriptionError> {
        self.node
            .property(property)
            .map(|found| found.value_as())
            .transpose()
            .map_err(|_| self.error(property, Problem::Malformed))
    }

    fn below(&self, child: FdtNode<'a>) -> Self {
        Self {
            fdt: self.fdt,
            node: child,
            path: format!("{}/{}", self.path, child.name()),
        }
    }
}

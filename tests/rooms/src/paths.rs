//! What an item names: its imports, and the paths in its code.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, Meta, UseTree, Visibility};

/// A leaf of a `use`.
#[derive(Clone, Debug)]
pub struct Import {
    /// What it is called here; `None` for a glob.
    pub name: Option<String>,
    /// What is imported.
    pub path: Vec<String>,
    /// The line of the file, from 1.
    pub line: usize,
    /// Handed on to other modules.
    pub public: bool,
    /// Built for tests alone.
    pub test: bool,
}

/// A path in code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Its segments.
    pub path: Vec<String>,
    /// The line of the file, from 1.
    pub line: usize,
    /// Built for tests alone.
    pub test: bool,
}

/// What an item names.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What it defines.
    pub(crate) names: Vec<String>,
    /// What it imports.
    pub(crate) imports: Vec<Import>,
    /// Other paths in it.
    pub(crate) mentions: Vec<Mention>,
    test: bool,
}

/// Looks through an item.
pub(crate) fn in_item(item: &Item, test: bool) -> Found {
    let mut found = Found {
        test,
        names: defined(item),
        ..Found::default()
    };
    found.visit_item(item);
    found
}

/// An identifier without `r#`.
pub(crate) fn plain(identifier: &Ident) -> String {
    let text = identifier.to_string();
    text.strip_prefix("r#").unwrap_or(&text).to_owned()
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether something is built for tests alone: `#[test]`, `#[cfg(test)]`, `#[cfg(all(test, …))]`,
/// or `#[cfg(any(test, feature = "fakes"))]`, which is for fuzzers.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let Meta::List(list) = &attribute.meta else {
            return false;
        };
        let text: String = list.tokens.to_string().split_whitespace().collect();
        let for_tests = text == "test"
            || text.starts_with("all(test,")
            || text == r#"any(test,feature="fakes")"#;
        list.path.is_ident("cfg") && for_tests
    })
}

/// The name of a macro that `#[macro_export]` puts at the crate's root.
pub(crate) fn exported_macro(item: &Item) -> Option<String> {
    let Item::Macro(item) = item else {
        return None;
    };
    let exported = |attribute: &Attribute| attribute.path().is_ident("macro_export");
    let name = item.ident.as_ref()?;
    item.attrs.iter().any(exported).then(|| plain(name))
}

fn defined(item: &Item) -> Vec<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => return item.ident.iter().map(plain).collect(),
        Item::ForeignMod(block) => {
            let names = block.items.iter().filter_map(|item| match item {
                syn::ForeignItem::Fn(item) => Some(plain(&item.sig.ident)),
                syn::ForeignItem::Static(item) => Some(plain(&item.ident)),
                _ => None,
            });
            return names.collect();
        }
        _ => return Vec::new(),
    };
    vec![plain(name)]
}

impl Found {
    fn mention(&mut self, path: Vec<String>, line: usize) {
        let test = self.test;
        self.mentions.push(Mention { path, line, test });
    }

    /// The leaves of a `use`.
    fn leaves(&mut self, tree: &UseTree, path: &[String], public: bool) {
        let joined = |ident: &Ident| -> Vec<String> {
            // `use a::{self}` is `use a`.
            let own = (ident != "self" || path.is_empty()).then(|| plain(ident));
            path.iter().cloned().chain(own).collect()
        };
        let (name, path, line) = match tree {
            UseTree::Path(tree) => {
                return self.leaves(&tree.tree, &joined(&tree.ident), public);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.leaves(tree, path, public);
                }
                return;
            }
            UseTree::Name(leaf) => {
                let path = joined(&leaf.ident);
                (path.last().cloned(), path, leaf.ident.span())
            }
            UseTree::Rename(leaf) => (
                Some(plain(&leaf.rename)),
                joined(&leaf.ident),
                leaf.ident.span(),
            ),
            UseTree::Glob(leaf) => (None, path.to_vec(), leaf.span()),
        };
        let test = self.test;
        let line = line.start().line;
        self.imports.push(Import {
            name,
            path,
            line,
            public,
            test,
        });
    }

    /// Paths in the tokens of a macro, which may be anything.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // Colons since the last identifier.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_path(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(plain(&ident));
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                TokenTree::Group(group) => {
                    self.end_of_path(&mut path, line);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end_of_path(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.end_of_path(&mut path, line);
    }

    fn end_of_path(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.mention(std::mem::take(path), line);
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        let before = self.test;
        self.test |= is_for_tests(attributes(item));
        visit::visit_item(self, item);
        self.test = before;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.leaves(&item.tree, &[], public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| plain(&segment.ident));
        self.mention(segments.collect(), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.visit_path(&invocation.path);
        self.tokens(invocation.tokens.clone());
    }

    /// `pub(in path)` is no use.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    /// Nor is what stands in attributes.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

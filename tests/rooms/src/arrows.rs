//! Which file uses which, and where.

use std::collections::{BTreeMap, HashSet};

use crate::paths::Import;
use crate::source::{FileId, ModuleId, Sources};

/// That a file uses another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The file that uses.
    pub from: FileId,
    /// The file with what is used.
    pub to: FileId,
    /// The first line with such a use, from 1.
    pub line: usize,
    /// The path that stands there.
    pub path: String,
    /// Tests alone do it.
    pub test: bool,
}

/// All arrows between different files, in the order of the files.
#[must_use]
pub fn arrows(sources: &Sources) -> Vec<Arrow> {
    let mut found: BTreeMap<(FileId, FileId), Arrow> = BTreeMap::new();
    for (id, module) in sources.modules.iter().enumerate() {
        let imports = module.imports.iter().filter(|import| !import.public);
        let imports = imports.map(|import| (&import.path, import.line, import.test));
        let mentions = &module.mentions;
        let mentions = mentions
            .iter()
            .map(|mention| (&mention.path, mention.line, mention.test));
        for (path, line, test) in imports.chain(mentions) {
            let Some(place) = Resolver::new(sources).resolve(id, path) else {
                continue;
            };
            // A single word that is a module is something else of the same name: nothing is done
            // with a module alone.
            if path.len() == 1 && place.is_module {
                continue;
            }
            let arrow = Arrow {
                from: module.file,
                to: sources.modules[place.module].file,
                line,
                path: path.join("::"),
                test: test || module.test,
            };
            if arrow.from == arrow.to {
                continue;
            }
            found
                .entry((arrow.from, arrow.to))
                .and_modify(|first| {
                    // What is built always counts before what is built for tests alone.
                    if (arrow.test, arrow.line) < (first.test, first.line) {
                        *first = arrow.clone();
                    }
                })
                .or_insert(arrow);
        }
    }
    found.into_values().collect()
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The module, or the module with the item.
    module: ModuleId,
    is_module: bool,
}

impl Place {
    fn item(module: ModuleId) -> Self {
        Self {
            module,
            is_module: false,
        }
    }

    fn module(module: ModuleId) -> Self {
        Self {
            module,
            is_module: true,
        }
    }
}

/// Follows one path, through re-exports.
struct Resolver<'a> {
    sources: &'a Sources,
    /// Names that are being looked up, so that imports that lead to each other come to an end.
    under_way: HashSet<(ModuleId, String)>,
}

impl<'a> Resolver<'a> {
    fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            under_way: HashSet::new(),
        }
    }

    /// `None` for what is not this package's.
    fn resolve(&mut self, from: ModuleId, path: &[String]) -> Option<Place> {
        let (first, mut rest) = path.split_first()?;
        let root = self.sources.modules[from].root;
        let mut place = match first.as_str() {
            "crate" => Place::module(root),
            "self" => Place::module(from),
            "super" => {
                let mut module = self.enclosing(from)?;
                while let Some((next, behind)) = rest.split_first()
                    && next == "super"
                {
                    module = self.enclosing(module)?;
                    rest = behind;
                }
                Place::module(module)
            }
            name => self.look_up(from, name).or_else(|| {
                let library = self.sources.library?;
                (name == self.sources.name && root != library).then_some(Place::module(library))
            })?,
        };
        for name in rest {
            if !place.is_module {
                break;
            }
            place = self
                .look_up(place.module, name)
                .unwrap_or(Place::item(place.module));
        }
        Some(place)
    }

    fn enclosing(&self, module: ModuleId) -> Option<ModuleId> {
        self.sources.modules[module].parent
    }

    /// What a name stands for in a module.
    fn look_up(&mut self, at: ModuleId, name: &str) -> Option<Place> {
        let module = &self.sources.modules[at];
        if let Some(child) = module.children.get(name) {
            return Some(Place::module(*child));
        }
        if module.items.contains(name) {
            return Some(Place::item(at));
        }
        if !self.under_way.insert((at, name.to_owned())) {
            return None;
        }
        let found = self.look_up_import(at, &module.imports, name);
        self.under_way.remove(&(at, name.to_owned()));
        found.or_else(|| {
            let is_root = Some(at) == self.sources.library;
            let exported = self.sources.exported_macros.get(name);
            exported.filter(|_| is_root).copied().map(Place::item)
        })
    }

    fn look_up_import(&mut self, at: ModuleId, imports: &[Import], name: &str) -> Option<Place> {
        if let Some(import) = imports
            .iter()
            .find(|import| import.name.as_deref() == Some(name))
        {
            // An import of another crate's thing of the same name leads nowhere here.
            return self.resolve(at, &import.path);
        }
        imports
            .iter()
            .filter(|import| import.name.is_none())
            .find_map(|glob| {
                let place = self.resolve(at, &glob.path)?;
                (place.is_module && place.module != at)
                    .then(|| self.look_up(place.module, name))
                    .flatten()
            })
    }
}

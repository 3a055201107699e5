//! The modules of a crate, as its files declare them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::{Attribute, Expr, Item, Lit, Meta};

use crate::paths::{self, Import, Mention, is_for_tests};

/// A module of [`Sources`].
pub type ModuleId = usize;
/// A file of [`Sources`].
pub type FileId = usize;

/// All modules of a package: those of its library and those of its programs.
#[derive(Debug, Default)]
pub struct Sources {
    /// Files, relative to the package's folder.
    pub files: Vec<PathBuf>,
    /// All modules, a root before its children.
    pub modules: Vec<Module>,
    /// The root of the library, if there is one.
    pub library: Option<ModuleId>,
    /// The library's name in paths.
    pub name: String,
    /// Macros that stand at the library's root, and where they are defined.
    pub exported_macros: HashMap<String, ModuleId>,
}

/// A module.
#[derive(Debug)]
pub struct Module {
    /// The module that declares it; none for a root.
    pub parent: Option<ModuleId>,
    /// The root of its tree.
    pub root: ModuleId,
    /// The file that it stands in.
    pub file: FileId,
    /// Modules that it declares.
    pub children: HashMap<String, ModuleId>,
    /// What it imports, or hands on.
    pub imports: Vec<Import>,
    /// The names of what it defines.
    pub items: HashSet<String>,
    /// Paths in its code.
    pub mentions: Vec<Mention>,
    /// Built for tests alone.
    pub test: bool,
}

impl Sources {
    /// Reads the package in `folder`, whose library is called `name`: `src/lib.rs`, `src/main.rs`
    /// and what is in `src/bin`.
    ///
    /// # Errors
    ///
    /// A file can't be read, or is no Rust.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let mut sources = Self {
            name: name.replace('-', "_"),
            ..Self::default()
        };
        let library = Path::new("src/lib.rs");
        if folder.join(library).is_file() {
            sources.library = Some(sources.read_root(folder, library)?);
        }
        for program in programs(folder)? {
            sources.read_root(folder, &program)?;
        }
        Ok(sources)
    }

    fn read_root(&mut self, folder: &Path, file: &Path) -> Result<ModuleId> {
        let children = file.parent().unwrap_or(Path::new("")).to_owned();
        self.read_file(folder, file, None, children, false)
    }

    /// Reads a file as a module whose own modules are in `children`.
    fn read_file(
        &mut self,
        folder: &Path,
        file: &Path,
        parent: Option<ModuleId>,
        children: PathBuf,
        test: bool,
    ) -> Result<ModuleId> {
        let path = folder.join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} can't be read", path.display()))?;
        let syntax = syn::parse_file(&text)
            .with_context(|| format!("{} can't be understood", path.display()))?;
        let id = self.files.len();
        self.files.push(file.to_owned());
        self.module(folder, id, parent, &syntax.items, &children, test)
    }

    fn module(
        &mut self,
        folder: &Path,
        file: FileId,
        parent: Option<ModuleId>,
        items: &[Item],
        children: &Path,
        test: bool,
    ) -> Result<ModuleId> {
        let id = self.modules.len();
        self.modules.push(Module {
            parent,
            root: parent.map_or(id, |parent| self.modules[parent].root),
            file,
            children: HashMap::new(),
            imports: Vec::new(),
            items: HashSet::new(),
            mentions: Vec::new(),
            test,
        });
        for item in items {
            let test = test || is_for_tests(paths::attributes(item));
            if let Item::Mod(declared) = item {
                let name = paths::plain(&declared.ident);
                let child = match &declared.content {
                    Some((_, items)) => {
                        self.module(folder, file, Some(id), items, &children.join(&name), test)?
                    }
                    None => {
                        let (path, below) = module_file(folder, children, &name, &declared.attrs)?;
                        self.read_file(folder, &path, Some(id), below, test)?
                    }
                };
                self.modules[id].children.insert(name, child);
                continue;
            }
            if let Some(name) = paths::exported_macro(item) {
                self.exported_macros.insert(name, id);
            }
            let found = paths::in_item(item, test);
            let module = &mut self.modules[id];
            module.items.extend(found.names);
            module.imports.extend(found.imports);
            module.mentions.extend(found.mentions);
        }
        Ok(id)
    }
}

/// The roots of a package's programs.
fn programs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut roots = Vec::new();
    if folder.join("src/main.rs").is_file() {
        roots.push(PathBuf::from("src/main.rs"));
    }
    let bin = Path::new("src/bin");
    if folder.join(bin).is_dir() {
        let entries = fs::read_dir(folder.join(bin)).context("src/bin can't be listed")?;
        for entry in entries {
            let path = bin.join(entry?.file_name());
            if path.extension().is_some_and(|extension| extension == "rs") {
                roots.push(path);
            } else if folder.join(&path).join("main.rs").is_file() {
                roots.push(path.join("main.rs"));
            }
        }
    }
    roots.sort();
    Ok(roots)
}

/// Where a module that is declared without content stands, and where its own modules do.
fn module_file(
    folder: &Path,
    children: &Path,
    name: &str,
    attributes: &[Attribute],
) -> Result<(PathBuf, PathBuf)> {
    if let Some(path) = attributes.iter().find_map(path_attribute) {
        let path = children.join(path);
        let below = path.with_extension("");
        return Ok((path, below));
    }
    let below = children.join(name);
    [below.with_extension("rs"), below.join("mod.rs")]
        .into_iter()
        .find(|path| folder.join(path).is_file())
        .map(|path| (path, below))
        .with_context(|| format!("module {name} has no file in {}", children.display()))
}

/// `#[path = "…"]`
fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else {
        return None;
    };
    match &meta.value {
        Expr::Lit(literal) if meta.path.is_ident("path") => match &literal.lit {
            Lit::Str(path) => Some(path.value()),
            _ => None,
        },
        _ => None,
    }
}

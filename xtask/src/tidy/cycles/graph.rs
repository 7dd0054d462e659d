//! The graph of a crate's files: who names something that who defines.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::scan::{self, Module};

/// How many re-exports are followed from a name to its definition.
const MAX_RE_EXPORTS: usize = 8;

/// `from` names `text`, which `to` defines.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
    pub(super) text: String,
}

/// Files each of which is reached from each other, and the edges among them.
pub(super) struct Cycle {
    pub(super) files: Vec<String>,
    pub(super) edges: Vec<Edge>,
}

/// The files of a crate, by their path in `src`, and one edge for each pair that has any.
pub(super) struct Graph {
    edges: BTreeMap<(String, String), Edge>,
}

/// A module's path from the crate's root, such as `["load", "report"]`.
type ModulePath = Vec<String>;

/// The modules of a crate, each with its file.
struct Tree {
    modules: BTreeMap<ModulePath, (String, Module)>,
}

/// Where a path leads.
enum Target {
    /// To a module itself.
    Module(ModulePath),
    /// To an item of this module.
    Item(ModulePath),
}

impl Graph {
    /// Reads the files that are reached from `root` by `mod`.
    pub(super) fn of(
        root: &str,
        read: &dyn Fn(&str) -> Result<String>,
        exists: &dyn Fn(&str) -> bool,
    ) -> Result<Self> {
        let mut tree = Tree {
            modules: BTreeMap::new(),
        };
        let mut open = vec![(ModulePath::new(), root.to_owned())];
        while let Some((path, file)) = open.pop() {
            let modules =
                scan::modules(&read(&file)?).with_context(|| format!("reading {file}"))?;
            for module in modules {
                let path: ModulePath = path.iter().chain(&module.inside).cloned().collect();
                for child in &module.children {
                    let mut path = path.clone();
                    path.push(child.clone());
                    let stem = path.join("/");
                    let names = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
                    open.extend(names.into_iter().find(|f| exists(f)).map(|f| (path, f)));
                }
                tree.modules.insert(path, (file.clone(), module));
            }
        }
        Ok(Self {
            edges: tree.edges(),
        })
    }

    /// The graph less these edges.
    pub(super) fn without(&self, edges: &[(&str, &str)]) -> Self {
        let mut rest = self.edges.clone();
        rest.retain(|(from, to), _| !edges.contains(&(from, to)));
        Self { edges: rest }
    }

    /// Whether there is such an edge, and a way back.
    pub(super) fn closes_a_cycle(&self, from: &str, to: &str) -> bool {
        let key = (from.to_owned(), to.to_owned());
        self.edges.contains_key(&key) && self.reached(to).contains(from)
    }

    /// The strongly connected components of more than one file.
    pub(super) fn cycles(&self) -> Vec<Cycle> {
        let files: BTreeSet<&str> = self.edges.keys().map(|(from, _)| from.as_str()).collect();
        let reached: BTreeMap<&str, BTreeSet<&str>> = files
            .iter()
            .map(|file| (*file, self.reached(file)))
            .collect();
        let mut components: BTreeSet<Vec<&str>> = BTreeSet::new();
        for (file, others) in &reached {
            let mutual = others
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)));
            let component: Vec<&str> = mutual.copied().collect();
            if !component.is_empty() {
                components.insert(component);
            }
        }
        let of = |files: Vec<&str>| Cycle {
            edges: self
                .edges
                .values()
                .filter(|edge| {
                    files.contains(&edge.from.as_str()) && files.contains(&edge.to.as_str())
                })
                .cloned()
                .collect(),
            files: files.into_iter().map(str::to_owned).collect(),
        };
        components.into_iter().map(of).collect()
    }

    /// All files that `file` needs, directly or through others; itself only by way of a cycle.
    fn reached(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![file];
        while let Some(file) = open.pop() {
            for (from, to) in self.edges.keys() {
                if from == file && reached.insert(to.as_str()) {
                    open.push(to);
                }
            }
        }
        reached
    }
}

impl Tree {
    fn edges(&self) -> BTreeMap<(String, String), Edge> {
        let mut edges = BTreeMap::new();
        for (here, (file, module)) in &self.modules {
            let imports = module.imports.iter().map(|import| {
                let glob = import.alias == "*";
                (&import.path, import.line, glob, import.re_export)
            });
            let mentions = module
                .mentions
                .iter()
                .map(|mention| (&mention.path, mention.line, false, false));
            for (path, line, glob, re_export) in imports.chain(mentions) {
                let defining = match self.resolve(here, path, MAX_RE_EXPORTS) {
                    Some(Target::Item(module)) => module,
                    Some(Target::Module(module)) if glob => module,
                    // Naming a module needs nothing of it yet.
                    Some(Target::Module(_)) | None => continue,
                };
                let to = &self.modules[&defining].0;
                let of_child = defining.len() > here.len() && defining.starts_with(here);
                if to == file || (re_export && of_child) {
                    continue;
                }
                let text = path.join("::") + if glob { "::*" } else { "" };
                edges
                    .entry((file.clone(), to.clone()))
                    .or_insert_with(|| Edge {
                        from: file.clone(),
                        to: to.clone(),
                        line,
                        text,
                    });
            }
        }
        edges
    }

    /// Where `path`, written in the module `here`, leads; `None` outside the crate.
    fn resolve(&self, here: &[String], path: &[String], re_exports: usize) -> Option<Target> {
        let mut at: ModulePath = here.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => at.clear(),
            "self" | "super" => {}
            name => {
                let known = self
                    .modules
                    .get(here)?
                    .1
                    .imports
                    .iter()
                    .any(|i| i.alias == name);
                if !known && !self.modules.contains_key(&joined(here, name)) {
                    return None;
                }
            }
        }
        while let Some(step @ ("crate" | "self" | "super")) = rest.first().map(String::as_str) {
            if step == "super" {
                at.pop()?;
            }
            rest = &rest[1..];
        }
        self.descend(at, rest, re_exports)
    }

    fn descend(&self, mut at: ModulePath, path: &[String], re_exports: usize) -> Option<Target> {
        for (i, name) in path.iter().enumerate() {
            let module = &self.modules.get(&at)?.1;
            let child = joined(&at, name);
            let is_last = i + 1 == path.len();
            if self.modules.contains_key(&child) && !(is_last && module.defines.contains(name)) {
                at = child;
                continue;
            }
            if module.defines.contains(name) {
                return Some(Target::Item(at));
            }
            let left = re_exports.checked_sub(1)?;
            if let Some(import) = module.imports.iter().find(|import| import.alias == *name) {
                let path: Vec<String> = import.path.iter().chain(&path[i + 1..]).cloned().collect();
                return self.resolve_import(&at, &path, left);
            }
            for glob in module.imports.iter().filter(|import| import.alias == "*") {
                if let Some(Target::Module(from)) = self.resolve_import(&at, &glob.path, left)
                    && self
                        .modules
                        .get(&from)
                        .is_some_and(|m| m.1.defines.contains(name))
                {
                    return Some(Target::Item(from));
                }
            }
            return Some(Target::Item(at));
        }
        Some(Target::Module(at))
    }

    /// As [`Self::resolve`], where the first name of the path may be the import's own alias: `use a
    /// as b` and `use load::load` start from a module or another crate, never from themselves.
    fn resolve_import(&self, here: &[String], path: &[String], left: usize) -> Option<Target> {
        match path.first()?.as_str() {
            "crate" | "self" | "super" => self.resolve(here, path, left),
            name if self.modules.contains_key(&joined(here, name)) => {
                self.descend(joined(here, name), &path[1..], left)
            }
            name => {
                let module = &self.modules.get(here)?.1;
                let import = module
                    .imports
                    .iter()
                    .find(|i| i.alias == name && i.path != path)?;
                let path: Vec<String> = import.path.iter().chain(&path[1..]).cloned().collect();
                self.resolve_import(here, &path, left.checked_sub(1)?)
            }
        }
    }
}

fn joined(path: &[String], name: &str) -> ModulePath {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

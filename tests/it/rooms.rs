//! The house keeps its walls: rooms import only what the table in `docs/design.md` allows, and no files
//! import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Where the table stands.
const TABLE: &str = "## Who may import what";

/// The source folders, each with the name that paths in the table begin with.
fn sources() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let named = crates.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (format!("crates/{name}"), path.join("src"))
    });
    named.chain([("src".to_owned(), root.join("src"))]).collect()
}

/// The table: each room with the rooms that it may import.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let design = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design.md");
    let text = fs::read_to_string(design).unwrap();
    let section = text.split_once(TABLE).expect("docs/design.md has the table of imports").1;
    let section = section.split_once("\n## ").map_or(section, |(before, _)| before);
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let mut cells = line.trim_matches('|').split('|');
        let room = names(cells.next().unwrap()).pop_first().unwrap();
        (room, names(cells.next().unwrap()))
    });
    rows.collect()
}

/// One file of a source folder.
struct File {
    /// As the table names it: `src/http/server/head`, with the folder's name for its `mod.rs`.
    name: String,
    is_mod: bool,
    imports: BTreeSet<String>,
}

/// All files of a source folder with what they import of it, test modules left out.
fn files(name: &str, folder: &Path) -> Vec<File> {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    let modules: BTreeSet<String> = paths.iter().map(|path| module(name, folder, path).0).collect();
    let parsed = paths.iter().map(|path| {
        let (own, is_mod) = module(name, folder, path);
        let text = fs::read_to_string(path).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut found = Imports { root: name, modules: &modules, own: &own, found: BTreeSet::new() };
        found.visit_file(&syntax);
        let imports = found.found;
        File { imports, name: own, is_mod }
    });
    parsed.collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            paths.push(path);
        }
    }
}

/// A file's name as a module, and whether it is the head of a folder.
fn module(root: &str, folder: &Path, path: &Path) -> (String, bool) {
    let inside = path.strip_prefix(folder).unwrap().with_extension("");
    let inside = inside.to_str().unwrap();
    let head = inside.strip_suffix("/mod").or((matches!(inside, "lib" | "mod")).then_some(""));
    let is_head = head.is_some() || path.with_extension("").is_dir();
    match head.unwrap_or(inside) {
        "" => (root.to_owned(), true),
        inside => (format!("{root}/{inside}"), is_head),
    }
}

/// Collects the modules that a file names.
struct Imports<'a> {
    root: &'a str,
    modules: &'a BTreeSet<String>,
    own: &'a str,
    found: BTreeSet<String>,
}

impl Imports<'_> {
    fn add(&mut self, path: &[String]) {
        let mut place: Vec<&str> = Vec::new();
        let mut steps = path.iter().map(String::as_str).peekable();
        match steps.peek() {
            Some(&"crate") => place.push(self.root),
            Some(&"self" | &"super") => place.push(self.own),
            _ => return,
        }
        for step in steps {
            match step {
                "crate" | "self" => {}
                "super" => {
                    let up = place.pop().and_then(|last| last.rsplit_once('/')).map(|(up, _)| up);
                    place.push(up.unwrap_or(self.root));
                }
                name => {
                    let deeper = format!("{}/{name}", place.last().unwrap());
                    let Some(module) = self.modules.get(&deeper) else { break };
                    place.push(module);
                }
            }
        }
        if let Some(module) = place.last().filter(|module| **module != self.own) {
            self.found.insert((*module).to_owned());
        }
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }
}

impl Visit<'_> for Imports<'_> {
    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        });
        if !is_test {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let steps: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&steps);
        visit::visit_path(self, path);
    }
}

/// The room that a module is in: the longest name of the table that it begins with.
fn room<'a>(rooms: &'a BTreeMap<String, BTreeSet<String>>, module: &str) -> Option<&'a str> {
    let within = |room: &&String| module == *room || module.starts_with(&format!("{room}/"));
    rooms.keys().filter(within).max_by_key(|room| room.len()).map(String::as_str)
}

#[test]
fn rooms_import_only_what_the_table_in_the_design_allows() {
    let rooms = allowed();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in files("src", &folder).iter().filter(|file| file.name != "src") {
        let Some(own) = room(&rooms, &file.name) else {
            wrong.push(format!("{} is in no room of the table", file.name));
            continue;
        };
        for import in &file.imports {
            // The root only lists the rooms; what it re-exports is a room's.
            let Some(other) = room(&rooms, import) else { continue };
            let inside = other == own || import.starts_with(&format!("{}/", file.name)) && file.is_mod;
            if !inside && !rooms[own].contains(other) {
                wrong.push(format!(
                    "{} imports {import}: the table does not let {own} import {other}",
                    file.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_depend_only_on_what_the_table_in_the_design_allows() {
    let rooms = allowed();
    for (name, source) in sources().iter().filter(|(name, _)| name != "src") {
        let manifest = fs::read_to_string(source.parent().unwrap().join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for dependency in dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next()) {
            let other = format!("crates/{dependency}");
            let known = rooms.get(name).unwrap_or_else(|| panic!("the table has no row for {name}"));
            let ours = rooms.contains_key(&other);
            assert!(!ours || known.contains(&other), "the table does not let {name} depend on {other}");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = BTreeMap::new();
    for (name, source) in sources() {
        let files = files(&name, &source);
        let edges = files.iter().map(|file| (file.name.as_str(), outward(file, &files)));
        let edges: BTreeMap<&str, BTreeSet<&str>> = edges.collect();
        for start in edges.keys() {
            if let Some(circle) = way_back(&edges, start) {
                let members: BTreeSet<String> = circle.iter().map(|&file| file.to_owned()).collect();
                circles.entry(members).or_insert_with(|| circle.join(" -> "));
            }
        }
    }
    let circles: Vec<String> = circles.into_values().collect();
    assert!(circles.is_empty(), "files import each other in a circle:\n{}", circles.join("\n"));
}

/// What a file imports besides its folder's head and what it is the head of: those two are one room with it.
fn outward<'a>(file: &'a File, files: &'a [File]) -> BTreeSet<&'a str> {
    let is_mod = |name: &str| files.iter().any(|file| file.name == name && file.is_mod);
    let above = |name: &str| is_mod(name) && file.name.starts_with(&format!("{name}/"));
    let below = |name: &str| file.is_mod && name.starts_with(&format!("{}/", file.name));
    let names = file.imports.iter().map(String::as_str);
    names.filter(|name| !above(name) && !below(name)).collect()
}

/// A way along the edges from `start` back to it.
fn way_back<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            let further = [way.as_slice(), &[*next]].concat();
            if *next == start {
                return Some(further);
            }
            if seen.insert(*next) {
                ways.push(further);
            }
        }
    }
    None
}

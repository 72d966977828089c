//! What the documents say of the tests is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files below a folder whose names end in `.rs`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `module::function` of each function of the integration tests, where `module` is the file's or its
/// folder's.
fn functions(root: &Path) -> BTreeSet<String> {
    let tests = root.join("tests/it");
    let mut files = Vec::new();
    sources(&tests, &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let inner = file.strip_prefix(&tests).expect("a file below").with_extension("");
        let modules: Vec<&str> = inner.iter().filter_map(|part| part.to_str()).collect();
        let text = fs::read_to_string(&file).expect("a source");
        for line in text.lines() {
            let line = line.trim_start().trim_start_matches("pub ");
            let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) else {
                continue;
            };
            names.insert(format!("{}::{name}", modules[0]));
            names.insert(format!("{}::{name}", modules.join("::")));
        }
        names.insert(modules[0].to_owned());
        names.insert(modules.join("::"));
    }
    names
}

/// The tests that paragraphs name after `Tests:`, between backquotes: paths of folders, names with their
/// module, and modules all of whose tests are meant.
fn named(text: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for tests in text.split("\n\n").filter_map(|paragraph| Some(paragraph.split_once("Tests:")?.1)) {
        let parts: Vec<&str> = tests.split('`').collect();
        for pair in parts[1..].chunks(2) {
            let is_name = |name: &str| name.contains("::") || name.contains('/');
            if is_name(pair[0]) || pair.get(1).is_some_and(|after| after.starts_with(" (all")) {
                named.push(pair[0]);
            }
        }
    }
    named
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let functions = functions(root);
    let text = fs::read_to_string(root.join("docs/guarantees.md")).expect("the guarantees");
    let named = named(&text);
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let exists = |name: &str| {
        if name.contains('/') { root.join(name).exists() } else { functions.contains(name) }
    };
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "docs/guarantees.md names tests that are not there: {missing:#?}");
}

/// The modules and folders of all crates, as `broker/storage/recovery`: the path inside `src` or `crates`.
fn modules(root: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("crates"), &mut files);
    let mut modules = BTreeSet::new();
    for file in files {
        let inner = file.strip_prefix(root).expect("a file below").with_extension("");
        let inner = inner.to_str().expect("a name").replacen("/src/", "/", 1);
        let inner = inner.trim_start_matches("crates/").trim_start_matches("src/").to_owned();
        let parts: Vec<&str> = inner.split('/').collect();
        modules.extend((1..=parts.len()).map(|length| parts[..length].join("/")));
    }
    modules
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = modules(root);
    let mut missing = Vec::new();
    for document in ["docs/design.md", "docs/guarantees.md", "CONTRIBUTING.md", "README.md"] {
        let text = fs::read_to_string(root.join(document)).expect(document);
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/-.".contains(c);
            let is_mime = name.starts_with("application/") || name.starts_with("text/");
            if !name.contains('/') || !name.chars().all(is_path) || name.starts_with('/') || is_mime {
                continue;
            }
            let name = name.trim_end_matches('/');
            let inner = name.strip_prefix("src/").or(name.strip_prefix("crates/")).unwrap_or(name);
            let is_module = modules.iter().any(|module| {
                module.strip_suffix(inner).is_some_and(|before| before.is_empty() || before.ends_with('/'))
            });
            let is_file = [".", "tests/it"].iter().any(|folder| root.join(folder).join(name).exists());
            if !is_module && !is_file && !name.starts_with("target/") {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "no such file or module:\n{}", missing.join("\n"));
}

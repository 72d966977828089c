//! docs/conformance.md has the table of the requests that are served.

use std::fmt::Write;
use std::path::Path;

use crate::requests::table::APIS;

/// What stands around the table in the page.
const BEGIN: &str = "<!-- requests: begin -->\n";
const END: &str = "<!-- requests: end -->\n";

/// Set to 1 to have the page written anew.
const UPDATE: &str = "UPDATE_CONFORMANCE";

fn table() -> String {
    let mut table = "| Request | Key | Versions | Notes |\n|---|---|---|---|\n".to_owned();
    for api in &APIS {
        let (first, last) = (api.versions.start(), api.versions.end());
        let versions = if first == last { first.to_string() } else { format!("{first}–{last}") };
        writeln!(table, "| {:?} | {} | {versions} | {} |", api.key, api.key as i16, api.note).unwrap();
    }
    // No note: an empty cell.
    table.replace("|  |\n", "| |\n")
}

/// The page with `table` in the place of the one that it has.
fn with_table(page: &str, table: &str) -> String {
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    [before, BEGIN, table, END, after].concat()
}

#[test]
fn the_page_has_the_requests_that_are_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let expected = with_table(&page, &table());
    if page != expected && std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        std::fs::write(&path, &expected).unwrap();
        return;
    }
    assert!(page == expected, "docs/conformance.md is not as the table of requests: run with {UPDATE}=1");
}

#[test]
fn notes_fit_a_cell_and_keys_are_in_order() {
    assert!(APIS.iter().all(|api| !api.note.contains(['|', '\n'])));
    assert!(APIS.is_sorted_by(|a, b| (a.key as i16) < (b.key as i16)));
    let old = format!("a\n{BEGIN}what stood there\n{END}b\n");
    assert_eq!(with_table(&old, "new\n"), format!("a\n{BEGIN}new\n{END}b\n"));
}

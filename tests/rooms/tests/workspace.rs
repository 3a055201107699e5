//! The direction of dependencies in this checkout.

use std::path::Path;

use rooms::report::findings;
use rooms::table::Table;

#[test]
fn dependencies_run_down() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = Table::read(&own.join("rooms.toml")).unwrap();
    let findings = findings(&own.join("../.."), &table).unwrap();
    assert!(
        findings.is_empty(),
        "{} findings; docs/decisions/rooms.md says what counts:\n\n{}\n",
        findings.len(),
        findings.join("\n\n")
    );
}

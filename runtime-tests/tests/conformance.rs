//! docs/conformance.md is whole: each requirement of the specification has a
//! row, and each row a test that is there, or the reason why it has none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How a proof without a test has to begin.
const REASONS: [&str; 3] = ["does not apply: ", "not done yet: ", "decided: "];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checkout").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// The rows of requirements: id, level, requirement, proof.
fn rows(document: &str) -> Vec<[&str; 4]> {
    let cells = |line| -> Option<[&str; 4]> {
        let cells: Vec<&str> = str::split(line, '|').map(str::trim).collect();
        let is_id = |id: &str| id.split_once('-').is_some_and(|(a, n)| a.len() == 1 && n.starts_with(char::is_numeric));
        // A line begins and ends with a bar.
        cells.get(1).is_some_and(|id| is_id(id)).then(|| cells[1..cells.len() - 1].try_into().unwrap_or([cells[1]; 4]))
    };
    document.lines().filter_map(cells).collect()
}

/// The names of tests in backticks.
fn named(proof: &str) -> Vec<&str> {
    proof.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect()
}

/// What is wrong with a document, given the level of each requirement and the tests there are.
fn faults(document: &str, levels: &BTreeMap<&str, &str>, tests: &BTreeSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for [id, level, requirement, proof] in rows(document) {
        if !seen.insert(id) {
            faults.push(format!("{id} has two rows"));
        }
        match levels.get(id) {
            None => faults.push(format!("{id} is not in the list of requirements")),
            Some(wanted) if *wanted != level => faults.push(format!("{id} is a {wanted}, not a {level}")),
            Some(_) => {}
        }
        if requirement.is_empty() || requirement == id {
            faults.push(format!("{id} is no row of four cells, or says nothing"));
        }
        let reasoned = REASONS.iter().any(|r| proof.strip_prefix(r).is_some_and(|why| why.len() > 5));
        if named(proof).is_empty() && !reasoned {
            faults.push(format!("{id} has neither a test nor a reason"));
        }
        for test in named(proof).into_iter().filter(|test| !tests.contains(*test)) {
            faults.push(format!("{id}: there is no test {test}"));
        }
    }
    let missing = levels.keys().filter(|id| !seen.contains(**id));
    faults.extend(missing.map(|id| format!("{id} has no row")));
    faults
}

/// The tests of a source: functions with the attribute, unless they are ignored.
fn tests_in(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut attribute = false;
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) {
            _ if line == "#[test]" => attribute = true,
            _ if line.starts_with("#[ignore") => attribute = false,
            Some(name) if attribute => {
                found.push(name);
                attribute = false;
            }
            _ => {}
        }
    }
    found
}

/// The sources below a directory, each with its path in words: `a/b.rs` is `a`, `b`.
fn sources(dir: &Path, words: &[String], found: &mut Vec<(Vec<String>, String)>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let words: Vec<String> = words.iter().cloned().chain([stem]).collect();
        if path.is_dir() {
            sources(&path, &words, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((words, read(&path)));
        }
    }
}

/// All tests, as the document names them: `suite::test`, in a suite of several
/// files `suite::file::test`, and `unit-orlop::path::of::file::test`.
fn all_tests() -> BTreeSet<String> {
    let mut all = Vec::new();
    sources(&top().join("runtime-tests/tests"), &[], &mut all);
    sources(&top().join("src"), &["unit-orlop".to_owned()], &mut all);
    let names = |(words, source): &(Vec<String>, String)| -> Vec<String> {
        let place: Vec<&str> = words.iter().map(String::as_str).filter(|w| !["main", "mod"].contains(w)).collect();
        tests_in(source).into_iter().map(|test| format!("{}::{test}", place.join("::"))).collect()
    };
    all.iter().flat_map(names).collect()
}

/// `ID LEVEL PLACE` a line.
fn levels(list: &str) -> BTreeMap<&str, &str> {
    let entry = |line| -> (&str, &str) {
        let [id, level, _place] = *str::split_whitespace(line).collect::<Vec<_>>() else { panic!("{line}") };
        (id, level)
    };
    let lines: Vec<_> = list.lines().filter(|l| !l.starts_with('#')).map(entry).collect();
    let map: BTreeMap<_, _> = lines.iter().copied().collect();
    assert_eq!(map.len(), lines.len(), "an id is there twice");
    map
}

#[test]
fn each_requirement_has_a_test_or_a_reason() {
    let list = read(top().join("runtime-tests/tests/conformance.ids"));
    let levels = levels(&list);
    assert!(levels.len() > 150, "{}", levels.len());
    assert_eq!(faults(&read(top().join("docs/conformance.md")), &levels, &all_tests()), [""; 0]);
}

#[test]
fn a_table_with_holes_is_noticed() {
    let levels = levels("A-1 MUST x.md\nA-2a SHOULD x.md#y\n");
    let tests = BTreeSet::from(["suite::there".to_owned(), "unit-orlop::a::b::inside".to_owned()]);
    let rest = "| A-2a | SHOULD | another | does not apply: for a reason |";
    for (row, fault) in [
        ("| A-1 | MUST | something | `suite::there` |", None),
        ("| A-1 | MUST | something | `make x`, `unit-orlop::a::b::inside` (decided: so) |", None),
        ("| A-1 | MUST | something | `make x` |", Some("A-1 has neither a test nor a reason")),
        ("| A-1 | MUST | something | |", Some("A-1 has neither a test nor a reason")),
        ("| A-1 | MUST | something | not done yet: |", Some("A-1 has neither a test nor a reason")),
        ("| A-1 | MUST | something | `suite::gone` |", Some("A-1: there is no test suite::gone")),
        ("| A-1 | SHOULD | something | `suite::there` |", Some("A-1 is a MUST, not a SHOULD")),
        ("| A-1 | MUST | | `suite::there` |", Some("A-1 is no row of four cells, or says nothing")),
        ("", Some("A-1 has no row")),
    ] {
        let found = faults(&format!("{row}\n{rest}\n| `matter` | decision | why |"), &levels, &tests);
        assert_eq!(found, fault.into_iter().collect::<Vec<_>>(), "{row}");
    }
    let twice = format!("| A-1 | MUST | it | `suite::there` |\n{rest}\n{rest}\n| B-7 | MUST | it | `suite::there` |");
    let found = faults(&twice, &levels, &tests);
    assert_eq!(found, ["A-2a has two rows", "B-7 is not in the list of requirements"]);
    let short = faults(&format!("| A-1 | MUST | `suite::there` |\n{rest}"), &levels, &tests);
    assert!(short.contains(&"A-1 is no row of four cells, or says nothing".to_owned()), "{short:?}");
}

#[test]
fn tests_are_found_by_their_attribute() {
    let source = "#[test]\n/// Doc.\nfn one() {\nfn two() {}\n    #[test]\n    #[ignore = \"x\"]\n    fn three() {}\n\
        proptest! {\n    #[test]\n    fn four(x in 0..1) {";
    assert_eq!(tests_in(source), ["one", "four"]);
    assert!(all_tests().contains("conformance::tests_are_found_by_their_attribute"));
    assert!(all_tests().contains("unit-orlop::spec::tests::one_fault_each"));
}

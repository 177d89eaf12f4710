//! Links: each leads to a file, and to a heading in it; every page is reached.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use vectoll_tests::documents::{anchors, links, pages, repository};

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages().unwrap() {
        let at = repository().join(&page.path);
        for link in links(&page.text).unwrap_or_else(|error| panic!("{}: {error}", page.path)) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            if !leads_somewhere(&at, &link) {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn leads_somewhere(from: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let to: PathBuf = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    match anchor {
        None => to.exists(),
        Some(anchor) => fs::read_to_string(to).is_ok_and(|text| anchors(&text).contains(anchor)),
    }
}

#[test]
fn a_link_to_nothing_is_found() {
    let readme = repository().join("README.md");
    assert!(leads_somewhere(&readme, "crds/README.md") && leads_somewhere(&readme, "#what-it-promises"));
    for broken in ["crds/READ.md", "#what-it-promised", "crds/README.md#nowhere"] {
        assert!(!leads_somewhere(&readme, broken), "{broken}");
    }
}

/// Every page is reached from the first one.
#[test]
fn every_page_is_reached_from_the_first() {
    let all = pages().unwrap();
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    let mut next = vec!["README.md".to_owned()];
    while let Some(path) = next.pop() {
        let Some(page) = all.iter().find(|page| page.path == path) else { continue };
        for link in links(&page.text).unwrap() {
            let target = link.split('#').next().unwrap();
            let folder = Path::new(&path).parent().unwrap();
            let Ok(to) = repository().join(folder).join(target).canonicalize() else { continue };
            let to = to.strip_prefix(repository().canonicalize().unwrap()).unwrap().to_string_lossy().into_owned();
            if reached.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    let lost: Vec<&String> = all.iter().map(|page| &page.path).filter(|path| !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "no page links to {lost:?}");
}

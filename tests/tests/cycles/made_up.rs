//! Small made-up crates: what is an arrow, and what is none.

use std::{collections::BTreeMap, path::Path};

use crate::{graph, tree::Tree};

/// The cycles of a crate of these files.
fn cycles(files: &[(&str, &str)]) -> Vec<String> {
    let files: BTreeMap<&Path, &str> = files.iter().map(|(name, text)| (Path::new(*name), *text)).collect();
    let tree = Tree::new(Path::new("lib.rs"), &|path| files.get(path).map(|text| (*text).to_owned())).unwrap();
    graph::cycles(&tree).iter().map(|cycle| cycle.describe(&tree, Path::new(""))).collect()
}

#[test]
fn two_files_that_use_each_other_are_a_cycle_and_each_line_is_named() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "\n//! B.\nuse super::a::A;\npub struct B(Box<A>);"),
    ];
    let told = "a cycle of 2 files\n    a.rs:1 leads on by crate::b::B\n    b.rs:3 leads on by super::a::A";
    assert_eq!(cycles(&files), [told]);
}

#[test]
fn the_shortest_way_round_is_told_and_the_number_of_all() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::A; use crate::b::B; pub struct C;"),
        ("d.rs", "use crate::a::A; pub struct D;"),
    ];
    let told = "a cycle of 3 files\n    b.rs:1 leads on by crate::c::C\n    c.rs:1 leads on by crate::b::B";
    assert_eq!(cycles(&files), [told]);
}

#[test]
fn a_parent_that_declares_a_child_does_not_lead_to_it() {
    let files = [
        ("lib.rs", "mod a; pub struct L;"),
        ("a.rs", "mod b; use super::L; pub struct A;"),
        ("a/b.rs", "use super::A;"),
    ];
    assert_eq!(cycles(&files), [""; 0]);
}

#[test]
fn a_parent_that_uses_its_child_leads_to_it() {
    let parents = [
        "mod b; use b::B; pub struct A(B);",
        "mod b; use self::b::B; pub struct A(B);",
        "mod b; pub struct A(b::B);",
        "mod b; pub fn a() { assert!(b::f()); } pub struct A;",
        "mod b; pub use b::B; pub struct A(B);",
        "mod b; pub use b::*; pub struct A(B);",
        "mod b; use b::*; pub struct A(B);",
        "mod b; pub fn a() { use b::f as g; g() } pub struct A;",
        "mod b; #[derive(Deserialize)] pub struct A { #[serde(default = \"b::f\")] a: bool }",
        "mod b; pub trait A { fn a() -> &'static b::B; }",
    ];
    for parent in parents {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", parent),
            ("a/b.rs", "use super::A; pub struct B; pub fn f() -> bool { true }"),
        ];
        assert_eq!(cycles(&files).len(), 1, "{parent}");
    }
}

#[test]
fn a_name_that_is_passed_on_leads_to_where_it_is_defined() {
    let back = [
        "use super::B;",
        "use crate::a::B;",
        "use crate::B;",
        "use crate::Renamed;",
        "use crate::{a::{self, b}, a::B as Bee};",
        "fn f(b: crate::a::B) {}",
        "use crate::a; fn f(b: a::B) {}",
    ];
    for back in back {
        let files = [
            ("lib.rs", "pub mod a; pub use a::B; pub(crate) use crate::a::b::B as Renamed;"),
            ("a.rs", "pub mod b; mod c; pub use self::b::*;"),
            ("a/b.rs", "use super::c::C; pub struct B(C);"),
            ("a/c.rs", back),
        ];
        let found = cycles(&files);
        assert_eq!(found.len(), 1, "{back}");
        assert!(found[0].contains("a/b.rs:1") && found[0].contains("a/c.rs:1"), "{back}: {found:?}");
    }
}

#[test]
fn a_private_use_is_passed_on_to_children_alone() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b; mod c; use c::C;"),
        ("a/b.rs", "use super::C; pub struct B;"),
        ("a/c.rs", "use super::b::B; pub struct C;"),
    ];
    let told = "a cycle of 2 files\n    a/b.rs:1 leads on by super::C\n    a/c.rs:1 leads on by super::b::B";
    assert_eq!(cycles(&files), [told]);
}

#[test]
fn what_a_function_takes_in_is_passed_on_to_nobody() {
    let files = [
        ("lib.rs", "mod a; mod c;"),
        ("a.rs", "mod b; mod d; fn f() { use crate::c::C as B; } pub use b::B;"),
        ("a/b.rs", "use super::d::D; pub struct B(D);"),
        ("a/d.rs", "use super::B; pub struct D(Vec<B>);"),
        ("c.rs", "pub struct C;"),
    ];
    let told = "a cycle of 2 files\n    a/b.rs:1 leads on by super::d::D\n    a/d.rs:1 leads on by super::B";
    assert_eq!(cycles(&files), [told]);
}

#[test]
fn who_may_see_an_item_is_no_arrow_to_them() {
    // A function has the name of its module, and is passed on.
    let files = [
        ("lib.rs", "mod a; pub use a::a;"),
        ("a.rs", "mod b; pub fn a() { b::f() }"),
        ("a/b.rs", "pub(super) fn f() {}"),
    ];
    assert_eq!(cycles(&files), [""; 0]);
}

#[test]
fn nested_braces_name_each_item() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::{\n    b::{self, inner::{B, D}},\n    c::C as See,\n};"),
        ("b.rs", "pub mod inner { use super::super::c; pub struct B(c::C); pub struct D; }"),
        ("c.rs", "use crate::a;\nfn f() -> impl Fn() { a::f }"),
    ];
    let told = "a cycle of 3 files\n    a.rs:3 leads on by crate::c::C\n    c.rs:2 leads on by a::f";
    assert_eq!(cycles(&files), [told]);
}

#[test]
fn a_module_in_braces_is_of_its_file() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "pub use inner::I;\nmod inner {\n    use super::A;\n    pub struct I(super::super::b::B);\n}\npub struct A;",
        ),
        ("b.rs", "use crate::a::I;\npub struct B;"),
    ];
    let told = "a cycle of 2 files\n    a.rs:4 leads on by super::super::b::B\n    b.rs:1 leads on by crate::a::I";
    assert_eq!(cycles(&files), [told]);
    let inside =
        [("lib.rs", "mod a;"), ("a.rs", "mod inner { use super::A; pub struct I(A); } pub struct A(Vec<inner::I>);")];
    assert_eq!(cycles(&inside), [""; 0]);
}

#[test]
fn what_is_only_for_tests_is_left_out() {
    let tests = [
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)]\n#[allow(dead_code)]\npub(crate) mod tests { use crate::b::B; }",
        "#[cfg(test)] mod tests;",
        "#[cfg(test)] use crate::{b::B};",
        "#[cfg(test)] impl A { fn for_tests() -> crate::b::B { crate::b::B } }",
        "pub fn f() { #[cfg(test)] crate::b::f(); }",
        "pub struct F { #[cfg(test)] b: crate::b::B, a: u8 }",
    ];
    for test in tests {
        let text = format!("{test} pub struct A;");
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", text.as_str()),
            ("a/tests.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(cycles(&files), [""; 0], "{test}");
        // And what stands behind it is read.
        let text = format!("{test} pub struct A(crate::b::B);");
        let files = [files[0], ("a.rs", text.as_str()), files[2], files[3]];
        assert_eq!(cycles(&files).len(), 1, "{test}");
    }
}

#[test]
fn names_of_others_are_no_arrows() {
    let quiet = [
        "use ::b::B;",
        "use std::b::B;",
        "fn f(x: X) { x.b(); x.b::<u8>(); <X as ::b::B>::b(); }",
        "struct X { b: u8 } fn f(b: u8) -> X { X { b: 1 } }",
        "// use crate::b::B;\n/// [`crate::b::B`]\nfn f() { print(\"use crate::b::B;\") }",
        "fn f<'b>(x: &'b u8) -> impl Fn() + use<'b> { move || () }",
        "use crate::b;",
        "pub use crate::b::B;",
        "fn f() { let b = 1; g(b) }",
        "pub(crate) fn f() {} pub(in crate::b) fn g() {}",
        "pub use crate::b::B as c; fn f(x: X) -> u8 { x.c(); x.c }",
    ];
    for quiet in quiet {
        let text = format!("{quiet} pub struct A;");
        let files = [("lib.rs", "mod a; mod b;"), ("a.rs", text.as_str()), ("b.rs", "use crate::a::A; pub struct B;")];
        assert_eq!(cycles(&files), [""; 0], "{quiet}");
    }
}

//! What one module names, read from its tokens.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A module: a file, or a part of one in braces.
#[derive(Debug, Default)]
pub struct Module {
    /// From the crate's root, which is empty.
    pub path: Vec<String>,
    /// Modules that are declared here and stand in files of their own.
    pub declared: Vec<String>,
    /// Items that are defined here.
    pub defined: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
}

/// One name that a `use` brings in.
#[derive(Debug)]
pub struct Import {
    /// `*` for all.
    pub name: String,
    pub path: Vec<String>,
    pub line: usize,
    /// `pub use`, to whomever.
    pub reexported: bool,
    /// In a function: seen by nobody else.
    pub local: bool,
}

/// A path in code.
#[derive(Debug)]
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
}

const ITEMS: [&str; 9] = ["struct", "enum", "union", "fn", "trait", "type", "const", "static", "macro_rules"];

/// The module of a file, and the modules in braces within it.
pub fn read(path: Vec<String>, tokens: TokenStream) -> Vec<Module> {
    let mut modules = vec![Module { path, ..Module::default() }];
    walk(&mut modules, 0, &trees(tokens), true);
    modules
}

fn trees(tokens: TokenStream) -> Vec<TokenTree> {
    tokens.into_iter().collect()
}

/// Reads on in module number `at`. `top`: among its items, not within one.
fn walk(modules: &mut Vec<Module>, at: usize, tokens: &[TokenTree], top: bool) {
    let mut rest = tokens;
    while let Some((first, next)) = rest.split_first() {
        rest = match first {
            TokenTree::Group(group) => {
                walk(modules, at, &trees(group.stream()), false);
                next
            }
            TokenTree::Punct(punct) => match (punct.as_char(), next.first()) {
                ('#', Some(TokenTree::Group(group))) if group.delimiter() == Delimiter::Bracket => {
                    attribute(modules, at, group, &next[1..])
                }
                // A path that begins outside of the crate, or after a type in angle brackets.
                (':', Some(second)) if is(second, ':') => &next[1 + path(&next[1..]).1..],
                // A field or a method, and a lifetime.
                ('.' | '\'', Some(TokenTree::Ident(_))) => &next[1..],
                // What comes after two dots is neither.
                ('.', Some(second)) if is(second, '.') => &next[1..],
                _ => next,
            },
            TokenTree::Ident(ident) => match (ident.to_string().as_str(), next) {
                ("use", [after, ..]) if !is(after, '<') => {
                    let end = next.iter().position(|token| is(token, ';')).unwrap_or(next.len());
                    let reexported = is_public(&tokens[..tokens.len() - rest.len()]);
                    let mut add = |name: String, path: Vec<String>, line| {
                        modules[at].imports.push(Import { name, path, line, reexported, local: !top });
                    };
                    imports(&mut Vec::new(), &next[..end], &mut add);
                    &next[end..]
                }
                ("mod", [TokenTree::Ident(name), after, tail @ ..]) => {
                    match after {
                        TokenTree::Group(group) => {
                            let path = modules[at].path.iter().cloned().chain([name.to_string()]).collect();
                            modules.push(Module { path, ..Module::default() });
                            let inner = modules.len() - 1;
                            walk(modules, inner, &trees(group.stream()), true);
                        }
                        _ => modules[at].declared.push(name.to_string()),
                    }
                    tail
                }
                ("const", [TokenTree::Ident(word), ..]) if ["fn", "unsafe", "async"].contains(&&*word.to_string()) => {
                    next
                }
                ("macro_rules", [_, TokenTree::Ident(name), tail @ ..]) => {
                    modules[at].defined.insert(name.to_string());
                    tail
                }
                (word, [TokenTree::Ident(name), tail @ ..]) if ITEMS.contains(&word) => {
                    if top {
                        modules[at].defined.insert(name.to_string());
                    }
                    tail
                }
                _ => {
                    let (segments, length) = path(rest);
                    let tail = &rest[length..];
                    // A field's name or a parameter's is no path.
                    if segments.len() > 1 || !tail.first().is_some_and(|token| is(token, ':')) {
                        modules[at].mentions.push(Mention { path: segments, line: line(first) });
                    }
                    tail
                }
            },
            TokenTree::Literal(_) => next,
        };
    }
}

/// Reads an attribute, and gives what comes after it, or after what it holds for if that is only for tests.
fn attribute<'a>(modules: &mut Vec<Module>, at: usize, group: &Group, rest: &'a [TokenTree]) -> &'a [TokenTree] {
    let tokens = trees(group.stream());
    match tokens.as_slice() {
        [TokenTree::Ident(word), TokenTree::Group(inner)]
            if word == "cfg" && matches!(inner.stream().to_string().as_str(), "test") =>
        {
            return after_item(rest);
        }
        // Serde is given paths as strings.
        [TokenTree::Ident(word), TokenTree::Group(inner)] if word == "serde" => {
            for token in inner.stream() {
                if let TokenTree::Literal(literal) = &token {
                    let text = literal.to_string();
                    let path: Vec<String> = text.trim_matches('"').split("::").map(str::to_owned).collect();
                    if path.len() > 1 {
                        modules[at].mentions.push(Mention { path, line: line(&token) });
                    }
                }
            }
        }
        _ => walk(modules, at, &tokens, false),
    }
    rest
}

/// What comes after an item, a field or a statement.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let mut rest = tokens;
    let mut ends: Option<&[char]> = None;
    while let Some((first, next)) = rest.split_first() {
        match first {
            TokenTree::Punct(punct) if punct.as_char() == '#' && ends.is_none() => {
                rest = &next[1..];
                continue;
            }
            TokenTree::Ident(ident) if ends.is_none() => match ident.to_string().as_str() {
                "pub" => {}
                "fn" | "impl" | "mod" | "struct" | "enum" | "trait" | "unsafe" | "async" | "const" | "macro_rules" => {
                    ends = Some(&[';', '}']);
                }
                "use" | "static" | "let" | "type" => ends = Some(&[';']),
                _ => ends = Some(&[',', ';']),
            },
            TokenTree::Group(group)
                if group.delimiter() == Delimiter::Brace && ends.is_some_and(|e| e.contains(&'}')) =>
            {
                return next;
            }
            TokenTree::Punct(punct) if ends.is_some_and(|ends| ends.contains(&punct.as_char())) => return next,
            _ => {}
        }
        rest = next;
    }
    rest
}

/// Whether what stands before a `use` makes it a re-export.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., TokenTree::Ident(word)] => word == "pub",
        [.., TokenTree::Ident(word), TokenTree::Group(group)] => {
            word == "pub" && group.delimiter() == Delimiter::Parenthesis
        }
        _ => false,
    }
}

/// The names of a tree of `use`, each with its path.
fn imports(head: &mut Vec<String>, tokens: &[TokenTree], add: &mut impl FnMut(String, Vec<String>, usize)) {
    for tree in tokens.split(|token| is(token, ',')).filter(|tree| !tree.is_empty()) {
        let depth = head.len();
        let mut name = None;
        let mut renamed = false;
        for token in tree {
            match token {
                TokenTree::Ident(ident) if ident == "as" => renamed = true,
                TokenTree::Ident(ident) if renamed => name = Some(ident.to_string()),
                TokenTree::Ident(ident) if ident == "self" && !head.is_empty() => name = head.last().cloned(),
                TokenTree::Ident(ident) => {
                    head.push(ident.to_string());
                    name = Some(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => name = Some("*".to_owned()),
                TokenTree::Group(group) => {
                    imports(head, &trees(group.stream()), add);
                    name = None;
                }
                _ => {}
            }
        }
        if let Some(name) = name {
            add(name, head.clone(), line(&tree[0]));
        }
        head.truncate(depth);
    }
}

/// The path that begins here, and how many tokens it takes. None: nothing.
fn path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    let mut length = 0;
    let mut rest = tokens;
    while let [TokenTree::Ident(ident), tail @ ..] = rest {
        segments.push(ident.to_string());
        length += 1;
        match tail {
            [one, two, after @ ..]
                if is(one, ':') && is(two, ':') && matches!(after.first(), Some(TokenTree::Ident(_))) =>
            {
                length += 2;
                rest = after;
            }
            // `Vec::<u8>`: the arguments are read on their own.
            [one, two, ..] if is(one, ':') && is(two, ':') => return (segments, length + 2),
            _ => break,
        }
    }
    (segments, length)
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

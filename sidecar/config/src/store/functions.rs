//! The functions that the store runs for sidecars: a library that is loaded into each of its servers.
//!
//! No login of a sidecar may have code of its own run there: it calls these functions and nothing else. The library's name
//! follows from its code, so the functions of several releases lie side by side in one store, and one that differs is never
//! taken for another.

use std::sync::LazyLock;

use crate::KeyHash;

/// The code, without the name. For Lua 5.1 in Valkey and Redis 7.
const SOURCE: &str = include_str!("functions.lua");

/// What the names of all libraries begin with.
pub const LIBRARY_ROOT: &str = "vectoll_";

/// Letters of the code's SHA-256 in a name.
const DIGITS: usize = 12;

static CURRENT: LazyLock<Library> = LazyLock::new(|| Library::of(SOURCE));

/// A library of functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    name: String,
    code: String,
}

/// One of its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// What one sidecar and the store tell each other about one Team.
    Exchange,
    /// What a sidecar says of itself.
    Acknowledge,
    /// For the operator: a family of a ledger is told apart no more than its bound allows.
    Fold,
    /// For the operator: fields go that no function has written.
    Drop,
}

impl Library {
    /// The library of this release.
    pub fn current() -> &'static Self {
        &CURRENT
    }

    /// A library with this code.
    pub fn of(source: &str) -> Self {
        let hash = KeyHash::of(source.as_bytes()).to_string();
        let name = format!("{LIBRARY_ROOT}{}", hash.get(..DIGITS).unwrap_or(&hash));
        let code = format!("#!lua name={name}\nlocal LIBRARY = '{name}'\n{source}");
        Self { name, code }
    }

    /// Its code without its name, as [`Library::of`] takes it.
    pub fn source() -> &'static str {
        SOURCE
    }

    /// What servers know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `FUNCTION LOAD` takes.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What a function of it is called by.
    pub fn function(&self, function: Function) -> String {
        let function = match function {
            Function::Exchange => "exchange",
            Function::Acknowledge => "acknowledge",
            Function::Fold => "fold",
            Function::Drop => "drop",
        };
        format!("{}_{function}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_code_has_another_name_and_all_names_are_what_servers_take() {
        let library = Library::current();
        assert_ne!(library.name(), Library::of(&format!("{SOURCE}\n")).name());
        assert_eq!(library, &Library::of(Library::source()));
        // Letters, digits and underscores (Redis documentation, "FUNCTION LOAD").
        assert!(library.name().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{}", library.name());
        assert!(library.code().starts_with(&format!("#!lua name={}\n", library.name())));
        assert!(library.function(Function::Exchange).starts_with(LIBRARY_ROOT));
    }
}

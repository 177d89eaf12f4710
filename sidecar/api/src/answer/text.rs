//! Where a reader of JSON is that looks at bytes as they come.

/// Whether the bytes are those of a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

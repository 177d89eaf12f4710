//! How vectors are to be written.

/// `encoding_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncodingFormat {
    /// JSON numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

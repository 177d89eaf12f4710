//! Who keeps a certificate.

use clap::ValueEnum;

/// Who keeps a certificate that the operator or the gateway serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CertificateKeeper {
    /// The operator makes and renews it, and tells the API server the CA of its own.
    Own,
    /// Someone else does.
    Secret,
}

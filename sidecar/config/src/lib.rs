//! The contract between operator and sidecar: what the operator writes and the sidecar reads.
//!
//! The reader owns it: this crate knows neither Kubernetes nor HTTP, only what a sidecar must be told. It is versioned
//! by file: `config.v1.yaml` holds [`v1::Config`], and an operator may write several versions side by side for sidecars
//! of several ages. Unknown versions and unknown fields are refused, never skipped: a limit that a sidecar does not
//! understand would be a limit that nobody enforces. What a sidecar passes on to a gateway stands in `gateway.v1.yaml` beside it
//! ([`v1::Gateway`]).
//!
//! Money, key hashes, names and patterns are types here, so that neither side can hold a wrong one.

mod amounts;
mod bundle;
mod forbidden;
mod gateway_url;
mod header;
mod issuer;
mod key;
mod money;
mod name;
mod pattern;
mod period;
mod position;
mod read;
pub mod store;
mod store_url;
pub mod v1;
mod write;
mod zone;

pub use amounts::MAX_BUDGETS;
pub use bundle::{BundleError, read_bundle, write_bundle};
pub use forbidden::Forbidden;
pub use gateway_url::is_gateway_url;
pub use header::is_ours;
pub use issuer::{GATEWAY_AUDIENCE, GATEWAY_TOKEN_FILE, ISSUER_FILE};
pub use key::{KEY_PREFIX, KeyHash, KeyHashError, POD_KEY, checksum, has_valid_checksum, is_generated};
pub use money::{MoneyError, PicoUsd, Price};
pub use name::{NameError, ObjectName, Uid, namespace_of};
pub use pattern::{ModelPattern, PatternError};
pub use period::{Stretch, is_calendars, stretch};
pub use position::line_of;
pub use read::{ConfigError, check_files_v1, check_v1, read_gateway_v1, read_v1};
pub use store_url::{StoreUrl, StoreUrlError, Topology};
pub use write::{entry_size, write_gateway_v1, write_v1};
pub use zone::{ZoneError, ZoneName};

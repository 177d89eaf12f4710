//! What a month's spend is divided by.

use clap::ValueEnum;

/// A family of the ledger's series, each of which sums to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// Teams
    Team,
    /// `ApiKeys`
    Key,
    /// End users
    User,
    /// Models, at each backend
    Model,
    /// Cost centres of keys and Teams
    #[value(name = "costCenter", alias = "cost-center")]
    CostCenter,
    /// Labels of keys and Teams, those that the operator was told to go by: each combination of their values
    Label,
    /// Tags that callers write on calls, those that a Team or a route lists: each set of them
    Tag,
}

impl Part {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Key => "key",
            Self::User => "user",
            Self::Model => "model",
            Self::CostCenter => "costCenter",
            Self::Label => "label",
            Self::Tag => "tag",
        }
    }
}

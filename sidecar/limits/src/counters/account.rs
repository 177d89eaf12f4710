//! Who or what a count is kept for.

use std::sync::Arc;

use vectoll_config::{ModelPattern, Uid};

use vectoll_ledger::charge::BudgetAccount;

/// Who or what a count is kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// A key.
    Key(Uid),
    /// A team.
    Team(Uid),
    /// A user of a key.
    KeyUser(Uid, Arc<str>),
    /// A user of a team.
    TeamUser(Uid, Arc<str>),
    /// A namespace whose keys belong to another's team.
    TeamNamespace(Uid, Arc<str>),
    /// Models within a key.
    KeyModel(Uid, ModelPattern),
    /// Models within a team.
    TeamModel(Uid, ModelPattern),
    /// Calls of a team with a tag.
    TeamTag(Uid, Arc<str>),
    /// A backend: what its provider is asked for.
    Backend(Uid),
    /// The calls of one of these that are no queries, where a part of its limits is left to those.
    Documents(Box<Account>),
}

impl Account {
    /// The end user that it is of, if it is one's.
    pub fn user(&self) -> Option<&Arc<str>> {
        match self {
            Self::KeyUser(_, user) | Self::TeamUser(_, user) => Some(user),
            Self::Documents(of) => of.user(),
            Self::Key(_)
            | Self::Team(_)
            | Self::TeamNamespace(..)
            | Self::KeyModel(..)
            | Self::TeamModel(..)
            | Self::TeamTag(..)
            | Self::Backend(_) => None,
        }
    }

    /// The payer that it is; none: accounts of this kind have no budget.
    pub fn payer(&self) -> Option<BudgetAccount> {
        match self {
            Self::Key(uid) => Some(BudgetAccount::Key(uid.clone())),
            Self::Team(uid) => Some(BudgetAccount::Team(uid.clone())),
            Self::TeamUser(uid, user) => Some(BudgetAccount::TeamUser(uid.clone(), user.clone())),
            Self::TeamNamespace(uid, namespace) => Some(BudgetAccount::TeamNamespace(uid.clone(), namespace.clone())),
            Self::KeyModel(uid, model) => Some(BudgetAccount::KeyModel(uid.clone(), model.clone())),
            Self::TeamModel(uid, model) => Some(BudgetAccount::TeamModel(uid.clone(), model.clone())),
            Self::TeamTag(uid, tag) => Some(BudgetAccount::TeamTag(uid.clone(), tag.clone())),
            Self::Backend(uid) => Some(BudgetAccount::Backend(uid.clone())),
            Self::KeyUser(..) | Self::Documents(_) => None,
        }
    }

    /// What it is kept under in a store: a Team's UID, or a backend's account. None: a key's, which are kept under its Team.
    pub(super) fn owner(&self) -> Option<&Uid> {
        match self {
            Self::Key(_) | Self::KeyUser(..) | Self::KeyModel(..) => None,
            Self::Team(uid)
            | Self::TeamUser(uid, _)
            | Self::TeamNamespace(uid, _)
            | Self::TeamModel(uid, _)
            | Self::TeamTag(uid, _)
            | Self::Backend(uid) => Some(uid),
            Self::Documents(of) => of.owner(),
        }
    }
}

impl From<&BudgetAccount> for Account {
    fn from(payer: &BudgetAccount) -> Self {
        match payer {
            BudgetAccount::Key(uid) => Self::Key(uid.clone()),
            BudgetAccount::Team(uid) => Self::Team(uid.clone()),
            BudgetAccount::TeamUser(uid, user) => Self::TeamUser(uid.clone(), user.clone()),
            BudgetAccount::TeamNamespace(uid, namespace) => Self::TeamNamespace(uid.clone(), namespace.clone()),
            BudgetAccount::KeyModel(uid, model) => Self::KeyModel(uid.clone(), model.clone()),
            BudgetAccount::TeamModel(uid, model) => Self::TeamModel(uid.clone(), model.clone()),
            BudgetAccount::TeamTag(uid, tag) => Self::TeamTag(uid.clone(), tag.clone()),
            BudgetAccount::Backend(uid) => Self::Backend(uid.clone()),
        }
    }
}

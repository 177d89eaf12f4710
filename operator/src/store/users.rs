//! Users of the store: what each namespace's may do, what a server has, and what it lacks. Pure.

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::{KeyHash, Uid, store};

/// The user of a namespace: who it is and what it may touch. What it may do is the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// SHA-256 of the passwords that let it in.
    pub passwords: BTreeSet<KeyHash>,
    /// Patterns of keys.
    pub keys: BTreeSet<String>,
}

/// The users that are to be, by namespace.
pub type UsersByName = BTreeMap<String, User>;

/// One change on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A user is made, or recreated.
    Set {
        /// Its name.
        name: String,
        /// What it is to be.
        user: User,
    },
    /// A user goes.
    Delete {
        /// Its name.
        name: String,
    },
}

impl User {
    /// The user of a namespace whose keys belong to these Teams, and whose sidecars call backends of these accounts. The scope is
    /// the operator's.
    pub fn of<'a>(
        scope: &str,
        namespace: &str,
        accounts: impl IntoIterator<Item = &'a Uid>,
        passwords: impl IntoIterator<Item = KeyHash>,
    ) -> Self {
        let own = pattern(&store::namespace_prefix(Some(scope), namespace));
        let keys = accounts.into_iter().map(|account| pattern(&store::team_prefix(account))).chain([own]).collect();
        Self { passwords: passwords.into_iter().collect(), keys }
    }

    /// The user of a gateway, whose calls are of all Teams and backends there are.
    pub fn of_all(scope: &str, name: &str, passwords: impl IntoIterator<Item = KeyHash>) -> Self {
        let own = pattern(&store::namespace_prefix(Some(scope), name));
        let keys = [pattern(store::ALL_TEAMS_PREFIX), own].into();
        Self { passwords: passwords.into_iter().collect(), keys }
    }

    /// The words after `ACL SETUSER NAME`: nothing of what the user may have been before stays.
    pub fn rules(&self) -> Vec<String> {
        let Self { passwords, keys } = self;
        let mut rules: Vec<String> = ["reset", "on"].map(str::to_owned).into();
        rules.extend(passwords.iter().map(|hash| format!("#{hash}")));
        rules.extend(["resetkeys", "resetchannels"].map(str::to_owned));
        rules.extend(keys.iter().map(|pattern| format!("~{pattern}")));
        rules.push("-@all".to_owned());
        rules.extend(store::SIDECAR_COMMANDS.iter().map(|command| (*command).to_owned()));
        rules
    }

    /// Whether a line of `ACL LIST` says the same. Servers have an order of their own, and flags that all users have.
    fn is_listed_as(&self, line: &str) -> bool {
        let Listed { on, user, rest } = Listed::of(line);
        let may: BTreeSet<&str> = store::SIDECAR_COMMANDS.iter().copied().chain(["-@all", "resetchannels"]).collect();
        on && user == *self && rest == may
    }
}

/// All keys with a prefix, as a pattern: what would be a wildcard in the prefix stands for itself.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

/// A line of `ACL LIST`, its words sorted by what they are.
struct Listed<'a> {
    on: bool,
    user: User,
    rest: BTreeSet<&'a str>,
}

impl<'a> Listed<'a> {
    fn of(rules: &'a str) -> Self {
        let mut listed =
            Self { on: false, user: User { passwords: BTreeSet::new(), keys: BTreeSet::new() }, rest: BTreeSet::new() };
        for word in rules.split(' ') {
            if let Some(hash) = word.strip_prefix('#').and_then(|hash| hash.parse().ok()) {
                listed.user.passwords.insert(hash);
            } else if let Some(pattern) = word.strip_prefix('~') {
                listed.user.keys.insert(pattern.to_owned());
            } else {
                match word {
                    "on" => listed.on = true,
                    // Redis says it of all users.
                    "sanitize-payload" => {}
                    other => drop(listed.rest.insert(other)),
                }
            }
        }
        listed
    }
}

/// The namespaces of our users on a server, and what is said of them, from `ACL LIST`.
pub(super) fn ours<'a>(scope: &str, list: &'a [String]) -> BTreeMap<&'a str, &'a str> {
    let prefix = store::user_prefix(scope);
    let line = |line: &'a String| {
        let (name, rules) = line.strip_prefix("user ")?.split_once(' ')?;
        // What is behind the prefix is a namespace, which no space and no colon can be part of.
        Some((name.strip_prefix(&prefix)?, rules))
    };
    list.iter().filter_map(line).collect()
}

/// What is said of a user that is there, as far as it is ours to keep: its passwords, and the prefixes of Teams. Of all Teams at once for
/// a gateway only.
pub(super) fn present(namespace: &str, rules: &str) -> User {
    let mut user = Listed::of(rules).user;
    let of_a_team = format!("{}*", store::team_prefix(&Uid::new("")));
    let (before, after) = of_a_team.split_once("{}").unwrap_or_default();
    // What a gateway calls itself no namespace can be called.
    let of_all = namespace.starts_with('_').then(|| pattern(store::ALL_TEAMS_PREFIX));
    // A wildcard within would be somebody else's.
    user.keys.retain(|pattern| {
        if of_all.as_ref() == Some(pattern) {
            return true;
        }
        let uid = pattern.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        uid.is_some_and(|uid| uid.starts_with('{') && uid.ends_with('}') && !uid.contains(['*', '?', '[', '\\']))
    });
    user
}

/// Whether nobody needs a password to be the default user.
pub(super) fn is_open(list: &[String]) -> bool {
    let is_default = |line: &&String| line.starts_with("user default ");
    list.iter()
        .find(is_default)
        .is_some_and(|line| line.split(' ').any(|word| word == "nopass") && line.contains(" on "))
}

/// What a server lacks, from what its `ACL LIST` says. Users of other scopes, and of no scope, are not looked at.
pub fn plan(scope: &str, wanted: &UsersByName, list: &[String]) -> Vec<Step> {
    let there = ours(scope, list);
    let missing = wanted
        .iter()
        .filter(|(namespace, user)| there.get(namespace.as_str()).is_none_or(|line| !user.is_listed_as(line)))
        .map(|(namespace, user)| Step::Set { name: store::user_name(scope, namespace), user: user.clone() });
    let surplus = there
        .keys()
        .filter(|namespace| !wanted.contains_key(**namespace))
        .map(|namespace| Step::Delete { name: store::user_name(scope, namespace) });
    missing.chain(surplus).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn user(team: &str) -> User {
        User::of("one", "apps", [&Uid::new(team)], [KeyHash::of(b"password")])
    }

    /// As a server lists it: in another order, with what it says of all users.
    fn line(name: &str, user: &User) -> String {
        let mut words: Vec<String> =
            user.rules().into_iter().filter(|word| !matches!(word.as_str(), "reset" | "on" | "resetkeys")).collect();
        words.reverse();
        format!("user {name} on sanitize-payload {}", words.join(" "))
    }

    fn wanted() -> UsersByName {
        [("apps".to_owned(), user("t1"))].into()
    }

    #[test]
    fn a_user_is_held_to_its_teams_its_namespace_and_a_few_commands() {
        let rules = user("t1").rules();
        assert_eq!(rules.first().map(String::as_str), Some("reset"), "nothing of before stays");
        let patterns: Vec<&String> = rules.iter().filter(|word| word.starts_with('~')).collect();
        assert_eq!(patterns, ["~vectoll:{ns:one:apps}:*", "~vectoll:{t1}:*"]);
        let all = rules.iter().position(|word| word == "-@all").unwrap();
        assert!(rules.iter().take(all).all(|word| !word.starts_with('+')));
        assert!(rules.iter().skip(all + 1).all(|word| word.starts_with('+') && !word.contains('@')));
        assert!(rules.iter().all(|word| !word.contains("password")));
    }

    #[test]
    fn a_prefix_with_a_wildcard_grants_nothing_more() {
        let rules = user("*").rules();
        assert!(rules.contains(&"~vectoll:{\\*}:*".to_owned()), "{rules:?}");
    }

    #[test]
    fn nothing_is_done_where_everything_is_as_it_should_be() {
        let list = [line("vectoll-ns-one:apps", &user("t1")), "user default on #abc ~* &* +@all".to_owned()];
        assert_eq!(plan("one", &wanted(), &list), []);
    }

    #[test]
    fn what_differs_in_anything_is_made_anew() {
        let good = line("vectoll-ns-one:apps", &user("t1"));
        for other in [
            good.replace(" on ", " off "),
            good.replace("t1", "t2"),
            good.replace("-@all", "+@all"),
            format!("{good} +flushall"),
            format!("{good} ~*"),
            format!("{good} nopass"),
            format!("{good} allchannels"),
            good.replace(" +fcall", ""),
            good.replace(&KeyHash::of(b"password").to_string(), &KeyHash::of(b"other").to_string()),
        ] {
            assert_ne!(other, good);
            let steps = plan("one", &wanted(), std::slice::from_ref(&other));
            assert!(matches!(steps.as_slice(), [Step::Set { name, .. }] if name == "vectoll-ns-one:apps"), "{other}");
        }
    }

    #[test]
    fn users_of_others_are_left_alone_and_ours_go() {
        let list =
            ["default", "app", "vectoll-ns-two:gone", "vectoll-ns-on:e", "vectoll-ns-one", "vectoll-ns-one:gone"]
                .map(|name| format!("user {name} on nopass ~* &* +@all"));
        assert_eq!(plan("one", &UsersByName::new(), &list), [Step::Delete { name: "vectoll-ns-one:gone".to_owned() }]);
    }

    #[test]
    fn of_what_is_there_only_passwords_and_teams_are_kept() {
        let rules = line("vectoll-ns-one:apps", &user("t1"));
        let rules = format!("{rules} ~* ~other:* ~vectoll:{{*}}:* ~vectoll:{{* ~vectoll:*");
        let found = present("apps", rules.strip_prefix("user vectoll-ns-one:apps ").unwrap());
        assert_eq!(found, user("t1"));
    }

    #[test]
    fn an_open_default_user_is_seen() {
        assert!(is_open(&["user default on nopass ~* &* +@all".to_owned()]));
        assert!(!is_open(&["user default on #abc ~* &* +@all".to_owned()]));
        assert!(!is_open(&["user default off nopass ~* &* +@all".to_owned()]));
    }
}

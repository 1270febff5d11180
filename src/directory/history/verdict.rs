//! Which of four things happened, as somebody who was not provisioned wants to know.

use super::{Account, Deed, Event, State, Story, Told};
use crate::{scim::error::RULES, tenants::MORE};

/// The answer.
#[derive(Clone, Debug)]
pub enum Verdict<'s> {
    /// Nothing is known under this name.
    NeverSent,
    /// The same, but of so many requests that were refused not each is kept: it may be among them.
    NotKept(&'s Event),
    /// The last that came was refused.
    Refused(&'s Told),
    /// It was done, and then taken back by this, if it is kept.
    DoneAndUndone(&'s Account, Option<&'s Told>),
    /// It was done.
    Done(&'s Account),
}

impl Verdict<'_> {
    /// For programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NeverSent => "never-sent",
            Self::NotKept(_) => "not-kept",
            Self::Refused(_) => "refused",
            Self::DoneAndUndone(..) => "done-and-undone",
            Self::Done(_) => "done",
        }
    }
}

impl Story {
    /// What it was, of whoever had the name last.
    pub fn verdict(&self) -> Verdict<'_> {
        let done = self.told.iter().filter(|told| told.deed != Deed::Refused);
        let last_done = done.map(|told| told.event.time()).max();
        let account = self.latest();
        let refused = self.told.iter().filter(|told| told.deed == Deed::Refused);
        let refused = refused.filter(|told| account.is_none_or(|account| !is_repeated(told, account)));
        let refused = refused.max_by_key(|told| told.event.last());
        match (refused, account) {
            (Some(refused), _) if last_done.is_none_or(|done| done < refused.event.last()) => Verdict::Refused(refused),
            (_, None) => self.not_kept().map_or(Verdict::NeverSent, Verdict::NotKept),
            (_, Some(account)) => self.of(account),
        }
    }

    /// The last refusals that were only counted.
    fn not_kept(&self) -> Option<&Event> {
        let is_more = |event: &&Event| event.body.refused.as_ref().is_some_and(|refused| refused.rule == MORE);
        self.nobodys.iter().find(is_more)
    }

    /// Who had the name last: who is there, else of whom the last event tells.
    fn latest(&self) -> Option<&Account> {
        let is_there = |account: &&Account| !matches!(account.state, State::Deleted | State::Erased | State::Gone);
        let there = self.accounts.iter().find(is_there);
        let told = || self.told.iter().rev().find_map(|told| told.account.as_ref());
        let last = || {
            let id = told()?;
            self.accounts.iter().find(|account| account.id == *id)
        };
        there.or_else(last).or(self.accounts.last())
    }

    fn of<'s>(&'s self, account: &'s Account) -> Verdict<'s> {
        let own = |told: &&Told| told.account.as_ref() == Some(&account.id) && told.deed == Deed::Own;
        let mut own = self.told.iter().rev().filter(own);
        match account.state {
            State::Active | State::There => Verdict::Done(account),
            State::Deleted | State::Erased | State::Gone => {
                Verdict::DoneAndUndone(account, own.find(|told| told.event.body.kind == "delete"))
            }
            State::Inactive => {
                // A delete and a restore name all attributes, which come back as they were.
                let sets = |told: &&Told| {
                    let body = &told.event.body;
                    !matches!(&*body.kind, "delete" | "restore") && body.paths.iter().any(|path| path == "active")
                };
                let by = own.find(sets);
                match by {
                    // As it was asked for.
                    Some(by) if matches!(&*by.event.body.kind, "create" | "import") => Verdict::Done(account),
                    by => Verdict::DoneAndUndone(account, by),
                }
            }
        }
    }
}

/// Whether it was refused because it had been done: whoever lost the answer asks again (docs/502.md).
fn is_repeated(refused: &Told, account: &Account) -> bool {
    let rule = refused.event.body.refused.as_ref().map(|refused| &*refused.rule);
    match account.state {
        State::Active | State::Inactive | State::There => rule == Some("unique-taken"),
        State::Deleted | State::Erased | State::Gone => rule == Some("not-found"),
    }
}

/// What a person does about a rule.
pub fn advice(rule: &str) -> Option<&'static str> {
    let entry = RULES.iter().find(|entry| entry.name == rule);
    entry.map(|entry| entry.advice)
}

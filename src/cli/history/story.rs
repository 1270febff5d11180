//! One person's story in words: the answer first, then what is there, then what was done.

use std::fmt::Write;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Followed, History, Teller, event::refusal};
use crate::{
    cli::{
        Operator,
        purge::Kept,
        show::{self, exact, printable, second},
    },
    directory::history::{Account, Deed, Event, Follower, Scope, State, Story, Told, Verdict, advice},
    tenants::Tenant,
};

pub(super) async fn tell(
    operator: &Operator,
    command: &History,
    tenant: &Tenant,
    (name, scope): (&str, Scope),
    mut teller: Teller,
) -> anyhow::Result<Option<Followed>> {
    let step = operator.settings.deadline();
    let mut follower = Follower::behind(operator.store.clone(), step, scope.clone());
    let mut rows = 0;
    let read = |event: &Event, so_far: usize| {
        if std::mem::replace(&mut rows, so_far) != so_far {
            show::progress(&format!("{} read", show::some(so_far, "row")));
        }
        follower.told(event);
    };
    let directory = operator.directory(tenant.clone());
    let (mut story, search) = directory.story(name, (scope.since, scope.until), step, read).await?;
    show::progress("");
    if !command.names {
        for account in &mut story.accounts {
            account.name = None;
            account.groups.iter_mut().for_each(|(_, name)| *name = None);
        }
    }
    let groups = story.accounts.iter().flat_map(|account| account.groups.clone());
    teller.call(groups.filter_map(|(id, name)| Some((id, name?))));
    let since = command.since.map(|_| scope.since);
    let told = Words {
        story: &story,
        kept: Kept::read(operator).await?,
        now: operator.ambient.now(),
        teller: &teller,
        name,
        tenant: &tenant.name,
        since: since.map_or_else(
            || "as far as it goes back".to_owned(),
            |since| format!("since {} UTC", second(since)),
        ),
    };
    command.output.print(&told.json(), &told.text())?;
    Ok(Some(Followed {
        follower,
        search: Some(search),
        teller,
    }))
}

struct Words<'s> {
    story: &'s Story,
    kept: Kept,
    now: OffsetDateTime,
    teller: &'s Teller,
    name: &'s str,
    tenant: &'s str,
    since: String,
}

impl Words<'_> {
    fn text(&self) -> String {
        let mut text = format!("{} in tenant {}\n\n{}\n", self.name, self.tenant, self.verdict());
        for account in &self.story.accounts {
            let _ = write!(text, "\n{}", self.account(account));
        }
        let unnamed: Vec<&Told> = self.story.told.iter().filter(|told| told.account.is_none()).collect();
        if !unnamed.is_empty() {
            text.push_str("\nRefused by that name; it may have been any account that had it:\n");
            self.list(&mut text, unnamed);
        }
        if self.story.left_out > 0 {
            let _ = writeln!(
                text,
                "\n{} left out, the oldest; --all shows all.",
                show::some(self.story.left_out, "event")
            );
        }
        let _ = write!(
            text,
            "\nAll requests about it in Application Insights (much as query 23 shows them), also what is not in the log: reads, and what \
             was answered 429 or 5xx (a paused tenant, a share used up, storage away):\n\n{}",
            self.query()
        );
        text
    }

    fn list<'t>(&self, text: &mut String, told: impl IntoIterator<Item = &'t Told>) {
        for told in told {
            let _ = writeln!(text, "  {}", self.teller.deed(told));
        }
    }

    fn account(&self, account: &Account) -> String {
        let name = account.name.as_ref().map(|name| format!(" ({})", printable(name)));
        let mut text = format!(
            "{} {}{}: {}\n",
            account.resource_type,
            account.id,
            name.unwrap_or_default(),
            words(account.state)
        );
        if let Some(created) = account.created {
            let _ = writeln!(text, "  made         {} UTC", second(created));
        }
        if matches!(account.state, State::Active | State::Inactive) {
            let groups = account.groups.iter().map(|(id, name)| match name {
                Some(name) => format!("{id} ({})", printable(name)),
                None => id.clone(),
            });
            let _ = writeln!(
                text,
                "  groups       {}",
                show::or_dash(Some(groups.collect::<Vec<_>>().join(", ")))
            );
        }
        if let Some(last) = &account.last {
            let what = Told {
                account: None,
                deed: Deed::Own,
                event: last.clone(),
            };
            let _ = writeln!(text, "  last change  {}", self.teller.deed(&what));
        }
        text.push_str("  in order, UTC:\n");
        let own = self
            .story
            .told
            .iter()
            .filter(|told| told.account.as_ref() == Some(&account.id));
        self.list(&mut text, own);
        text
    }

    fn verdict(&self) -> String {
        match self.story.verdict() {
            Verdict::NeverSent => self.never_sent(),
            Verdict::NotKept(event) => self.not_kept(event),
            Verdict::Refused(told) => self.refused(told),
            Verdict::DoneAndUndone(account, by) => {
                let what = match account.state {
                    State::Inactive => "set inactive",
                    _ => "deleted",
                };
                let by = by.map_or_else(
                    || match account.deleted {
                        Some(time) => format!(" at {} UTC; the log does not go back to by whom", second(time)),
                        None => "; the log does not go back to when".to_owned(),
                    },
                    |by| {
                        let reference = by.event.body.reference.as_ref();
                        let reference = reference.map(|id| format!(", Reference {id}"));
                        let time = second(by.event.time());
                        format!(
                            " at {time} UTC by {}{}",
                            self.teller.who(&by.event),
                            reference.unwrap_or_default()
                        )
                    },
                );
                format!("DONE AND UNDONE. It was here and was {what}{by}.{}", self.left(account))
            }
            Verdict::Done(account) => {
                let state = match account.state {
                    State::Active | State::Inactive => format!(" and {}", words(account.state)),
                    _ => String::new(),
                };
                format!("DONE. It is here{state}.{}", self.lost(account))
            }
        }
    }

    /// What became of it since it was deleted.
    fn left(&self, account: &Account) -> String {
        match (account.state, account.until(self.kept.days.retention())) {
            (State::Erased, _) => {
                let own = |told: &&Told| told.account.as_ref() == Some(&account.id) && told.event.body.kind == "erase";
                let by = self.story.told.iter().rfind(own).map(|told| {
                    let time = second(told.event.time());
                    format!(" at {time} UTC by {}", self.teller.who(&told.event))
                });
                format!(
                    "\nWhat was kept of it was erased{}: it can't be restored.",
                    by.unwrap_or_default()
                )
            }
            (State::Gone, _) => "\nNothing is kept of it any more: it can't be restored.".to_owned(),
            (_, Some(until)) if until > self.now => format!(
                "\nIt can be restored until {} UTC with: scimgate restore {} {}",
                second(until),
                self.tenant,
                account.id
            ),
            (_, Some(until)) => format!("\nIt could be restored until {} UTC.", second(until)),
            _ => String::new(),
        }
    }

    /// Whoever misses an access may miss a group.
    fn lost(&self, account: &Account) -> String {
        let mut lost: Vec<(&String, &Told)> = Vec::new();
        let own = |told: &&Told| told.account.as_ref() == Some(&account.id);
        for told in self.story.told.iter().filter(own) {
            match &told.deed {
                Deed::Left(group) | Deed::LostGroup(group) => lost.push((group, told)),
                Deed::Joined(group) => lost.retain(|(lost, _)| *lost != group),
                Deed::Own => lost.retain(|(lost, _)| !told.event.body.groups.contains(lost)),
                Deed::Refused => {}
            }
        }
        lost.last().map_or_else(String::new, |(_, lost)| {
            format!("\nIt lost a group last at {}", self.teller.deed(lost))
        })
    }

    fn never_sent(&self) -> String {
        let mut text = format!(
            "NEVER SENT, or refused less than a minute ago. Nothing is or was here by this name: no user or group has it as userName, externalId, \
             displayName of a group or id, and the log ({}) knows no write of it, done or refused.\n\
             If the query below finds nothing either, the identity provider has not sent it, or by another name, or with a token that \
             nobody knows. In Entra, Provisioning > Provision on demand with this person says why: 401, not assigned, outside a \
             scoping filter, or another value in the matching attribute. If it says success, look \
             whether the job is on and not in quarantine (Provisioning > Overview).",
            self.since
        );
        for event in &self.story.nobodys {
            let _ = write!(
                text,
                "\nRequests that named nobody were refused: {}",
                self.teller.line(event)
            );
        }
        for event in &self.story.pauses {
            let _ = write!(
                text,
                "\nWhat comes while the tenant is paused is answered 503: {}",
                self.teller.line(event)
            );
        }
        text
    }

    fn not_kept(&self, event: &Event) -> String {
        let refused = event.body.refused.as_ref();
        format!(
            "NOT KNOWN. Nothing is here by this name, and the log ({}) knows no write of it; but more requests were refused than \
             are kept one by one, {} in the hour from {} UTC, the last such. It may be among them: ask telemetry, with the query below.",
            self.since,
            refused.map_or(0, |refused| refused.count),
            second(event.time()),
        )
    }

    fn refused(&self, last: &Told) -> String {
        let body = &last.event.body;
        let rule = body.refused.as_ref().map_or("", |refused| refused.rule.as_str());
        let same = self
            .story
            .told
            .iter()
            .filter_map(|told| told.event.body.refused.as_ref());
        let count: u64 = same
            .filter(|refused| refused.rule == rule)
            .map(|refused| refused.count)
            .sum();
        let reference = body.reference.as_ref().map(|id| format!("; last Reference {id}"));
        let mut text = format!(
            "REFUSED. The last that came was {}; {count} of this rule in all{}.",
            refusal(&last.event),
            reference.unwrap_or_default()
        );
        if let Some(advice) = advice(rule) {
            let _ = write!(text, "\nWhat to do: {advice}");
        }
        if self.story.accounts.iter().any(|account| account.last.is_some()) {
            text.push_str("\nWhat was done before it stands, as below.");
        }
        text
    }

    fn query(&self) -> String {
        let subjects: Vec<String> = self
            .story
            .subjects
            .iter()
            .map(|subject| format!("\"{subject}\""))
            .collect();
        format!(
            "requests\n\
             | where cloud_RoleName == \"scim.handler\"\n\
             | where tostring(customDimensions[\"scim.subject\"]) in ({0}) or tostring(customDimensions[\"scim.subject.other\"]) in ({0})\n\
             | project timestamp, operation = name, resultCode, rule = tostring(customDimensions[\"scim.error.rule\"]), \
             Reference = strcat(operation_Id, \"-\", id)\n\
             | order by timestamp asc",
            subjects.join(", ")
        )
    }

    fn json(&self) -> Value {
        let story = self.story;
        let accounts = story.accounts.iter().map(|account| {
            let groups = account
                .groups
                .iter()
                .map(|(id, name)| json!({ "id": id, "name": name }));
            json!({
                "id": account.id,
                "resourceType": account.resource_type,
                "state": words(account.state),
                "name": account.name,
                "created": account.created.map(exact),
                "deleted": account.deleted.map(exact),
                "restorableUntil": account.until(self.kept.days.retention()).map(exact),
                "groups": groups.collect::<Vec<_>>(),
                "lastChange": account.last.as_ref().map(|event| self.teller.json(event)),
            })
        });
        json!({
            "tenant": self.tenant,
            "answer": story.verdict().name(),
            "accounts": accounts.collect::<Vec<_>>(),
            "events": story.told.iter().map(|told| self.teller.deed_json(told)).collect::<Vec<_>>(),
            "leftOut": story.left_out,
            "nobodys": story.nobodys.iter().map(|event| self.teller.json(event)).collect::<Vec<_>>(),
            "subjects": story.subjects,
            "query": self.query(),
        })
    }
}

fn words(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Inactive => "inactive",
        State::There => "there",
        State::Deleted => "deleted, still kept",
        State::Erased => "erased",
        State::Gone => "deleted",
    }
}

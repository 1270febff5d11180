//! What the tenant has of a resource that a line describes.

use super::{conflict::Why, parse::Described};
use crate::{
    directory::{Directory, Error, Stored, edges::resource_key, write::changed_paths},
    rows::{self, IndexBody},
    scim::{attributes::Attributes, members::Kind},
    store::Row,
};

/// Lines that are looked up with one call: four rows each.
pub(super) const LOOK_AT_ONCE: usize = 10;
const KEYS_EACH: usize = 4;

/// What there is.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing: it can be made.
    Nothing,
    /// The same resource.
    Same(Box<Stored>),
    /// Something that is in its way.
    Conflict(Why),
}

impl Directory {
    /// What there is of each of these, at most [`LOOK_AT_ONCE`], in one or two round trips.
    pub(super) async fn look(&self, described: &[&Described]) -> Result<Vec<Found>, Error> {
        let mut keys = Vec::with_capacity(described.len() * KEYS_EACH);
        let uniques: Vec<_> = described
            .iter()
            .map(|one| self.unique_key(&one.of, &one.attributes))
            .collect();
        for (one, unique) in described.iter().zip(&uniques) {
            if let Some(id) = &one.id {
                let [own, other] = [one.kind, other(one.kind)].map(|kind| resource_key(id, kind));
                keys.extend([own, other, rows::gone_key(id)]);
            }
            keys.extend(unique.iter().map(|(key, _)| key.clone()));
        }
        let mut rows = self.rows(&keys).await?.into_iter();
        let mut found = Vec::with_capacity(described.len());
        for (one, unique) in described.iter().zip(&uniques) {
            let mut next = || rows.next().flatten();
            let by_id = match &one.id {
                Some(_) => [next(), next(), next()],
                None => [const { None }; 3],
            };
            let holder: Option<IndexBody> = match unique {
                Some(_) => next().as_ref().map(rows::body).transpose()?,
                None => None,
            };
            let attribute = unique.as_ref().map_or("", |(_, attribute)| attribute);
            found.push(match &one.id {
                Some(id) => judge(one, id, by_id, (attribute, holder))?,
                None => self.look_at_holder(one, holder).await?,
            });
        }
        Ok(found)
    }

    /// Of a line without an id: whoever has the name is who is meant.
    async fn look_at_holder(&self, one: &Described, holder: Option<IndexBody>) -> Result<Found, Error> {
        let Some(holder) = holder else {
            return Ok(Found::Nothing);
        };
        let row = self.rows(&[resource_key(&holder.id, one.kind)]).await?.pop().flatten();
        let Some(row) = row else { return Ok(Found::Nothing) };
        Ok(compare(Stored::read(&row)?, &one.attributes))
    }
}

fn judge(
    one: &Described,
    id: &str,
    [own, other_type, gone]: [Option<Row>; 3],
    (attribute, holder): (&'static str, Option<IndexBody>),
) -> Result<Found, Error> {
    if let Some(row) = own {
        return Ok(compare(Stored::read(&row)?, &one.attributes));
    }
    if other_type.is_some() {
        return Ok(Found::Conflict(Why::OtherType(other(one.kind))));
    }
    if let Some(gone) = gone {
        let gone = rows::gone_stamp(&gone)?;
        let why = if gone.erased { Why::Erased } else { Why::Deleted };
        return Ok(Found::Conflict(why(gone.stamp.modified)));
    }
    Ok(match holder {
        Some(holder) if holder.id != id => Found::Conflict(Why::Taken(attribute, holder.id)),
        _ => Found::Nothing,
    })
}

fn compare(stored: Stored, attributes: &Attributes) -> Found {
    let differs = changed_paths(Some(&stored.attributes), Some(attributes));
    if differs.is_empty() {
        Found::Same(Box::new(stored))
    } else {
        Found::Conflict(Why::Differs(differs))
    }
}

fn other(kind: Kind) -> Kind {
    match kind {
        Kind::User => Kind::Group,
        Kind::Group => Kind::User,
    }
}

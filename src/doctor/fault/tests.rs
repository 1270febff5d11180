use super::{Fault, Severity, entries};
use crate::explain::{cause::named, explain, message::Message};

#[test]
fn every_fault_has_one_row_with_a_name_of_its_own() {
    let mut ids: Vec<_> = entries().map(|entry| entry.id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert_eq!(count, Fault::LeftBehind as usize + 1);
    for entry in entries() {
        assert_eq!(entry.fault.entry().id, entry.id);
        assert!(
            entry.advice.ends_with('.') && entry.effect.says().ends_with('.'),
            "{}",
            entry.id
        );
        assert!(entry.severity >= Severity::Note);
    }
}

/// What a fault causes is told in the words that 'explain' knows, and 'explain' finds the cause that is named.
#[test]
fn every_effect_is_what_explain_calls_it() {
    for entry in entries() {
        let Some(cause) = entry.effect.cause() else { continue };
        assert!(named(cause).is_some(), "{}: {cause}", entry.id);
        assert_eq!(
            explain(Message::read(entry.effect.says())).cause.name,
            cause,
            "{}",
            entry.id
        );
    }
}

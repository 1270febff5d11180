//! Damage as data.

use super::*;
use crate::rows::{MarkBody, SumBaseBody};

/// What is written to a sound tenant.
type Plant = for<'w> fn(&'w World, &'w Ids) -> BoxFuture<'w, Vec<Change>>;

struct Planted {
    name: &'static str,
    plant: Plant,
    found: &'static [(Damage, usize)],
    left: Left,
}

/// What there is after a repair.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// The rows that there were before the damage.
    AsBefore,
    /// Others, which are sound.
    Sound,
    /// The damage: a person must decide.
    Damage,
}

const fn planted(name: &'static str, plant: Plant, found: &'static [(Damage, usize)], left: Left) -> Planted {
    Planted {
        name,
        plant,
        found,
        left,
    }
}

fn delete(key: String) -> Change {
    Change::Delete(key, None)
}

/// Whatever the row held, this is what its bytes are now.
fn overwrite(key: String, stamp: Vec<u8>, body: &str) -> Change {
    let body = body.as_bytes().to_vec();
    Change::Upsert(Write { key, stamp, body })
}

fn edge_rows(group: &str, member: &str, kinds: [Kind; 2]) -> Vec<Change> {
    let body = |kind| {
        edges::body(&edges::Edge {
            group: group.to_owned(),
            member: member.to_owned(),
            kind,
        })
    };
    vec![
        Change::Upsert(write(rows::member_key(group, member), &body(kinds[0]))),
        Change::Upsert(write(rows::membership_key(member, group), &body(kinds[1]))),
    ]
}

fn gate(group: &str, operation: Option<u64>) -> Change {
    let operation = operation.map(|number| super::operation(number).to_string());
    Change::Upsert(journal::gate(group, operation.as_deref()))
}

/// A pending change: `member` joins the group.
fn pending(number: u64, group: &str, member: &str) -> Vec<Change> {
    let operation = operation(number).to_string();
    let body = JournalBody {
        format: FORMAT,
        operation: operation.clone(),
        group: group.to_owned(),
        parts: 1,
    };
    let mut changes = event_of(number, group, 1);
    changes.pop();
    changes.push(event_part(number, 0, &[member]));
    changes.push(Change::Insert(write(rows::journal_key(&operation), &body)));
    changes
}

fn hidden(id: &str, resource_type: &str) -> Change {
    let body = TraceBody {
        format: FORMAT,
        id: id.to_owned(),
        operation: operation(0).to_string(),
        time: OffsetDateTime::UNIX_EPOCH,
        resource_type: resource_type.to_owned(),
    };
    Change::Insert(write(body.edges_left_key(), &body))
}

/// The keys of a resource's index rows of these letters.
async fn index_keys(world: &World, id: &str, letters: &[&str]) -> Vec<String> {
    let rows = world.rows().await.into_values();
    let of_it = |row: &Row| {
        let body = rows::body::<IndexBody>(row);
        letters.iter().any(|letter| row.key.starts_with(&format!("{letter}~"))) && body.is_ok_and(|body| body.id == id)
    };
    rows.filter(of_it).map(|row| row.key).collect()
}

fn index_row(key: String, id: &str, value: &str) -> Change {
    let body = IndexBody {
        format: FORMAT,
        id: id.to_owned(),
        value: value.to_owned(),
    };
    Change::Upsert(write(key, &body))
}

/// A resource's row with another body.
async fn with_body(world: &World, key: String, edit: impl FnOnce(&mut ResourceBody)) -> Change {
    let row = world.row(&key).await;
    let mut body: ResourceBody = rows::body(&row).unwrap();
    edit(&mut body);
    let write = write(key, &body);
    Change::Upsert(Write {
        stamp: row.stamp,
        ..write
    })
}

use Damage as D;
use Left::{AsBefore, Sound};

static MEMBERSHIPS: &[Planted] = &[
    planted(
        "a reverse row is lost",
        |_, ids| Box::pin(async { vec![delete(rows::membership_key(&ids.a, &ids.group))] }),
        &[(D::ReverseMissing, 1)],
        AsBefore,
    ),
    planted(
        "a forward row is lost",
        |_, ids| Box::pin(async { vec![delete(rows::member_key(&ids.group, &ids.a))] }),
        &[(D::ForwardMissing, 1)],
        Sound,
    ),
    planted(
        "both take a user for a group",
        |_, ids| Box::pin(async { edge_rows(&ids.group, &ids.a, [Kind::Group; 2]) }),
        &[(D::EdgeDiffers, 1)],
        AsBefore,
    ),
    planted(
        "one takes a group for a user",
        |_, ids| Box::pin(async { edge_rows(&ids.group, &ids.nested, [Kind::Group, Kind::User]) }),
        &[(D::EdgeDiffers, 1)],
        AsBefore,
    ),
    planted(
        "a forward row makes no sense",
        |_, ids| Box::pin(async { vec![overwrite(rows::member_key(&ids.group, &ids.a), Vec::new(), "x")] }),
        &[(D::Unreadable, 1), (D::EdgeDiffers, 1)],
        AsBefore,
    ),
    planted(
        "a reverse row holds another membership",
        |_, ids| {
            Box::pin(async {
                let mut changes = edge_rows(&ids.group, &ids.b, [Kind::User; 2]);
                let Some(Change::Upsert(mut write)) = changes.pop() else {
                    unreachable!("it is an upsert")
                };
                write.key = rows::membership_key(&ids.a, &ids.group);
                vec![Change::Upsert(write)]
            })
        },
        &[(D::Misplaced, 1), (D::EdgeDiffers, 1)],
        AsBefore,
    ),
    planted(
        "a user is lost with its values",
        |world, ids| {
            Box::pin(async {
                let keys = index_keys(world, &ids.a, &["n", "x", "e"]).await;
                keys.into_iter()
                    .chain([rows::resource_key("u", &ids.a)])
                    .map(delete)
                    .collect()
            })
        },
        &[(D::EndMissing, 1), (D::TotalWrong, 1)],
        Sound,
    ),
    planted(
        "a group that is member and has one is lost, but not its values and gate",
        |_, ids| Box::pin(async { vec![delete(rows::resource_key("g", &ids.nested))] }),
        &[
            (D::EndMissing, 2),
            (D::IndexOrphan, 3),
            (D::GateOrphan, 1),
            (D::TotalWrong, 1),
        ],
        Sound,
    ),
    planted(
        "there never were group and member",
        |_, _| Box::pin(async { edge_rows("nobody", "none", [Kind::User; 2]) }),
        &[(D::EndMissing, 1)],
        AsBefore,
    ),
    planted(
        "half a membership of a user that is gone",
        |_, ids| {
            Box::pin(async {
                let mut changes = edge_rows(&ids.group, "none", [Kind::User; 2]);
                changes.truncate(1);
                changes
            })
        },
        &[(D::EndMissing, 1)],
        AsBefore,
    ),
];

static GATES: &[Planted] = &[
    planted(
        "a gate is lost",
        |_, ids| Box::pin(async { vec![delete(rows::gate_key(&ids.group))] }),
        &[(D::GateMissing, 1)],
        AsBefore,
    ),
    planted(
        "a gate is open and closed",
        |_, ids| Box::pin(async { vec![gate(&ids.group, Some(2))] }),
        &[(D::GateDouble, 1)],
        AsBefore,
    ),
    planted(
        "a gate is open and closed while a change is pending",
        |_, ids| {
            Box::pin(async {
                let mut changes = pending(2, &ids.group, &ids.c);
                changes.push(gate(&ids.group, Some(2)));
                changes
            })
        },
        &[(D::GateDouble, 1)],
        Sound,
    ),
    planted(
        "a gate is closed for nothing",
        |_, ids| Box::pin(async { vec![delete(rows::gate_key(&ids.group)), gate(&ids.group, Some(2))] }),
        &[(D::GateStuck, 1)],
        AsBefore,
    ),
    planted(
        "a gate is closed for a change that is another group's",
        |_, ids| {
            Box::pin(async {
                let mut changes = pending(2, &ids.nested, &ids.a);
                changes.extend([delete(rows::gate_key(&ids.nested)), gate(&ids.nested, Some(2))]);
                changes.extend([delete(rows::gate_key(&ids.group)), gate(&ids.group, Some(2))]);
                changes
            })
        },
        &[(D::GateStuck, 1)],
        Sound,
    ),
    planted(
        "there is a gate and no group",
        |_, _| Box::pin(async { vec![gate("nobody", None), gate("no@body", Some(2))] }),
        &[(D::GateOrphan, 2)],
        AsBefore,
    ),
    planted(
        "a change is pending for no group",
        |_, ids| Box::pin(async { pending(2, "nobody", &ids.a) }),
        &[(D::JournalOrphan, 1)],
        AsBefore,
    ),
    planted(
        "a change is pending while the gate is open",
        |_, ids| Box::pin(async { pending(2, &ids.group, &ids.c) }),
        &[(D::JournalUngated, 1)],
        Sound,
    ),
    planted(
        "a change is pending, and there is no gate",
        |_, ids| {
            Box::pin(async {
                let mut changes = pending(2, &ids.group, &ids.c);
                changes.push(delete(rows::gate_key(&ids.group)));
                changes
            })
        },
        &[(D::JournalUngated, 1)],
        Sound,
    ),
    planted(
        "two changes are pending, and the gate is closed for one",
        |_, ids| {
            Box::pin(async {
                let mut changes = pending(2, &ids.group, &ids.c);
                changes.extend(pending(9, &ids.group, "none"));
                changes.extend([delete(rows::gate_key(&ids.group)), gate(&ids.group, Some(9))]);
                changes
            })
        },
        &[],
        Sound,
    ),
    planted(
        "it is lost what is pending",
        |_, ids| {
            Box::pin(async {
                let mut changes = pending(2, &ids.group, &ids.c);
                changes.drain(..2);
                changes.extend([delete(rows::gate_key(&ids.group)), gate(&ids.group, Some(2))]);
                changes
            })
        },
        &[(D::JournalLost, 1)],
        AsBefore,
    ),
    planted(
        "a user and a group are hidden",
        |_, ids| Box::pin(async { vec![hidden(&ids.a, "User"), hidden(&ids.nested, "Group")] }),
        &[(D::HidesExisting, 2)],
        AsBefore,
    ),
    planted(
        "what never was is hidden",
        |_, _| Box::pin(async { vec![hidden("nobody", "User")] }),
        &[(D::HidesUnknown, 1)],
        AsBefore,
    ),
    planted(
        "what never was and has memberships is hidden",
        |_, ids| {
            Box::pin(async {
                let mut changes = edge_rows(&ids.group, "none", [Kind::User; 2]);
                changes.push(hidden("none", "User"));
                changes
            })
        },
        &[(D::HidesUnknown, 1)],
        AsBefore,
    ),
    planted(
        "there is a part of no tombstone",
        |_, _| {
            Box::pin(async {
                let body = MembersBody::default();
                [rows::gone_part_key("nobody", 0), rows::gone_members_key("nobody", 0)]
                    .map(|key| Change::Insert(write(key, &body)))
                    .to_vec()
            })
        },
        &[(D::TombstonePart, 2)],
        AsBefore,
    ),
];

static VALUES: &[Planted] = &[
    planted(
        "all index rows of a user and of a group are lost",
        |world, ids| {
            Box::pin(async {
                let mut keys = index_keys(world, &ids.a, &["n", "x", "e"]).await;
                keys.extend(index_keys(world, &ids.group, &["d", "y", "q"]).await);
                keys.into_iter().map(delete).collect()
            })
        },
        &[(D::IndexMissing, 7)],
        AsBefore,
    ),
    planted(
        "an index row spells the value otherwise",
        |world, ids| {
            Box::pin(async {
                let key = index_keys(world, &ids.a, &["n"]).await.remove(0);
                vec![index_row(key, &ids.a, "A")]
            })
        },
        &[(D::IndexWrong, 1)],
        AsBefore,
    ),
    planted(
        "a unique row names somebody else",
        |world, ids| {
            Box::pin(async {
                let key = index_keys(world, &ids.a, &["n"]).await.remove(0);
                vec![index_row(key, &ids.b, "b")]
            })
        },
        &[(D::IndexWrong, 1), (D::IndexOrphan, 1)],
        AsBefore,
    ),
    planted(
        "an index row makes no sense",
        |world, ids| {
            Box::pin(async {
                let key = index_keys(world, &ids.group, &["q"]).await.remove(0);
                vec![overwrite(key, Vec::new(), "{}")]
            })
        },
        &[(D::Unreadable, 1), (D::IndexWrong, 1)],
        AsBefore,
    ),
    planted(
        "index rows of values and resources that there are not",
        |world, ids| {
            Box::pin(async {
                let tenant = &world.directory.access.tenant;
                let [name, mail] = ["n", "e"].map(|letter| index::of_letter(letter).unwrap().key(tenant, "z"));
                vec![
                    index_row(name, "nobody", "z"),
                    index_row(format!("{mail}{}", ids.a), &ids.a, "z"),
                ]
            })
        },
        &[(D::IndexOrphan, 2)],
        AsBefore,
    ),
    planted(
        "two users have one name",
        |world, ids| {
            Box::pin(async {
                let mut changes = vec![delete(index_keys(world, &ids.b, &["n"]).await.remove(0))];
                let key = rows::resource_key("u", &ids.b);
                let rename = |body: &mut ResourceBody| body.attributes["userName"] = "A".into();
                changes.push(with_body(world, key, rename).await);
                changes
            })
        },
        &[(D::UniqueTwice, 1)],
        Left::Damage,
    ),
];

static ROWS: &[Planted] = &[
    planted(
        "a part of an event is lost",
        |_, _| Box::pin(async { vec![delete(rows::event_part_key(&operation(1).to_string(), 1))] }),
        &[(D::EventPartMissing, 1)],
        Left::Damage,
    ),
    planted(
        "parts of no event",
        |_, _| Box::pin(async { vec![event_part(1, 2, &[]), event_part(2, 0, &[])] }),
        &[(D::EventPartOrphan, 2)],
        Left::Damage,
    ),
    planted(
        "an event of another time",
        |_, _| {
            Box::pin(async {
                let Some(Change::Insert(mut write)) = event_of(2, "nobody", 0).pop() else {
                    unreachable!("it is an insert")
                };
                let later = Operation::new(OffsetDateTime::UNIX_EPOCH + Duration::from_hours(1), 0, [0; 32]);
                write.key = rows::event_key(&later);
                vec![Change::Insert(write)]
            })
        },
        &[(D::Misplaced, 1)],
        Left::Damage,
    ),
    planted(
        "resources that make no sense",
        |_, ids| {
            Box::pin(async {
                vec![
                    overwrite(rows::resource_key("u", &ids.a), b"x".to_vec(), "x"),
                    overwrite(rows::resource_key("g", &ids.nested), Vec::new(), "{\"format\":1}"),
                ]
            })
        },
        &[(D::Unreadable, 2)],
        Left::Damage,
    ),
    planted(
        "an event and a pending change of more parts than there can be",
        |_, ids| {
            Box::pin(async {
                let mut changes = pending(7, &ids.group, &ids.c);
                changes.retain(|change| !matches!(change, Change::Insert(write) if write.key.ends_with("~000")));
                let many = |write: &mut Write| {
                    let body: Value = serde_json::from_slice(&write.body).unwrap();
                    let body = Value::Object(
                        body.as_object()
                            .unwrap()
                            .clone()
                            .into_iter()
                            .chain([("parts".to_owned(), json!(1_u64 << 60))])
                            .collect(),
                    );
                    write.body = body.to_string().into_bytes();
                };
                for change in &mut changes {
                    if let Change::Insert(write) = change {
                        many(write);
                    }
                }
                changes
            })
        },
        &[(D::Unreadable, 2)],
        Left::Damage,
    ),
    planted(
        "rows of a newer version",
        |world, ids| {
            Box::pin(async {
                let name = index_keys(world, &ids.b, &["n"]).await.remove(0);
                let keys = [
                    rows::resource_key("u", &ids.a),
                    rows::member_key(&ids.nested, &ids.c),
                    rows::gate_key(&ids.group),
                    name,
                ];
                keys.map(|key| overwrite(key, b"x".to_vec(), "{\"format\":99}"))
                    .to_vec()
            })
        },
        &[(D::Newer, 4)],
        Left::Damage,
    ),
    planted(
        "rows that nobody knows",
        |_, _| Box::pin(async { vec![overwrite("z~a".to_owned(), Vec::new(), "{\"format\":1}")] }),
        &[(D::Unknown, 1)],
        Left::Damage,
    ),
    planted(
        "a group under another's key",
        |world, ids| {
            Box::pin(async {
                let row = world.row(&rows::resource_key("g", &ids.group)).await;
                let key = rows::resource_key("g", "other");
                let write = Write {
                    key,
                    stamp: row.stamp,
                    body: row.body,
                };
                vec![gate("other", None), Change::Insert(write), counted("g")]
            })
        },
        &[(D::Misplaced, 1)],
        Left::Damage,
    ),
];

/// The row that says that there is one more.
fn counted(kind: &str) -> Change {
    crate::totals::count(kind, &operation(2), 1)
}

/// The rows of the users' total, folded by now.
async fn folded(world: &World) -> (Row, Row) {
    let partition = &world.directory.access.tenant.id;
    crate::totals::fold_all(&*world.store, partition, "u").await.unwrap();
    let [base, seal] = [rows::sum_base_key("u"), rows::sum_seal_key("u")];
    (world.row(&base).await, world.row(&seal).await)
}

/// A row of a total that says something else.
fn sum(row: &Row, edit: impl FnOnce(&mut SumBaseBody)) -> Change {
    let mut body: SumBaseBody = rows::body(row).unwrap();
    edit(&mut body);
    Change::Upsert(write(row.key.clone(), &body))
}

static TOTALS: &[Planted] = &[
    planted(
        "a user is counted twice",
        |_, _| Box::pin(async { vec![counted("u")] }),
        &[(D::TotalWrong, 1)],
        Sound,
    ),
    planted(
        "all rows of both totals are lost",
        |world, _| {
            Box::pin(async {
                let keys = world.rows().await.into_keys();
                keys.filter(|key| key.starts_with("sum~")).map(delete).collect()
            })
        },
        &[(D::TotalWrong, 2)],
        Sound,
    ),
    planted(
        "the base is less than nothing",
        |world, _| Box::pin(async { vec![sum(&folded(world).await.0, |base| base.n = -700)] }),
        &[(D::TotalWrong, 1)],
        Sound,
    ),
    planted(
        "the seal is lost",
        |world, _| Box::pin(async { vec![delete(folded(world).await.1.key)] }),
        &[(D::TotalTorn, 1)],
        Sound,
    ),
    planted(
        "the seal is another",
        |world, _| Box::pin(async { vec![sum(&folded(world).await.1, |seal| seal.changes += 1)] }),
        &[(D::TotalTorn, 1)],
        Sound,
    ),
    planted(
        "the base is lost",
        |world, _| Box::pin(async { vec![delete(folded(world).await.0.key)] }),
        &[(D::TotalTorn, 1)],
        Sound,
    ),
    planted(
        "a row of a total makes no sense",
        |world, _| Box::pin(async { vec![overwrite(folded(world).await.0.key, Vec::new(), "7")] }),
        &[(D::Unreadable, 1)],
        Left::Damage,
    ),
    planted(
        "a mark of another place",
        |_, _| {
            Box::pin(async {
                let body = MarkBody {
                    format: FORMAT,
                    position: 7,
                    key: "u~a".to_owned(),
                    changes: None,
                    time: OffsetDateTime::UNIX_EPOCH,
                };
                vec![Change::Insert(write(rows::mark_key("u", 8), &body))]
            })
        },
        &[(D::Misplaced, 1)],
        Left::Damage,
    ),
];

fn all() -> impl Iterator<Item = &'static Planted> {
    [MEMBERSHIPS, GATES, VALUES, ROWS, TOTALS].into_iter().flatten()
}

fn counts(findings: &BTreeMap<Damage, Findings>) -> Vec<(Damage, usize)> {
    findings
        .iter()
        .map(|(damage, findings)| (*damage, findings.count))
        .collect()
}

fn bodies(rows: BTreeMap<String, Row>) -> BTreeMap<String, String> {
    let text = |row: Row| String::from_utf8_lossy(&row.body).into_owned();
    rows.into_iter().map(|(key, row)| (key, text(row))).collect()
}

async fn check(planted: &Planted, store: Arc<dyn Store>) {
    let Planted { name, found, left, .. } = planted;
    let (world, ids) = World::with_damages(store).await;
    let sound = world.inspection.check().await.unwrap();
    assert!(sound.is_sound(), "{name}, before: {:?}", sound.findings);
    assert_eq!((sound.users, sound.groups, sound.memberships), (3, 2, 5), "{name}");
    let before = world.rows().await;
    world.commit((planted.plant)(&world, &ids).await).await;

    let damaged = world.rows().await;
    let report = world.inspection.check().await.unwrap();
    let mut found = found.to_vec();
    found.sort_unstable();
    assert_eq!(counts(&report.findings), found, "{name}");
    let shown = format!("{:?}", report.findings);
    assert!(!shown.contains("example.com"), "{name}: {shown}");
    assert_eq!(world.rows().await, damaged, "{name}: a check changes nothing");

    let report = world.inspection.repair().await.unwrap();
    let expected = if *left == Left::Damage { found } else { Vec::new() };
    assert_eq!(counts(&report.findings), expected, "{name}, repaired");
    let after = world.inspection.check().await.unwrap();
    assert_eq!(counts(&after.findings), expected, "{name}, after");
    if expected.is_empty() {
        let partition = &world.directory.access.tenant.id;
        for (kind, total) in [("u", after.users), ("g", after.groups)] {
            let tally = crate::totals::tally(&*world.store, partition, kind, world.directory().deadline).await;
            assert_eq!(tally.unwrap().sum, i64::try_from(total).unwrap(), "{name}");
        }
    }
    match left {
        AsBefore => assert_eq!(bodies(world.rows().await), bodies(before), "{name}"),
        Left::Damage => assert_eq!(world.rows().await, damaged, "{name}"),
        Sound => {}
    }
}

#[tokio::test(start_paused = true)]
async fn every_damage_is_found_and_mended_or_left_to_a_person() {
    for planted in all() {
        check(planted, Arc::new(SqliteStore::memory().unwrap())).await;
    }
}

/// As above, on Azurite if there is one: a sample of each kind of row, as Azurite looks at all rows for every read.
#[tokio::test]
async fn damages_are_found_and_mended_on_azurite() {
    if let Some(store) = tables::tests::azurite().await {
        let store: Arc<dyn Store> = Arc::new(store);
        let checks = all().step_by(8).map(|planted| check(planted, Arc::clone(&store)));
        stream::iter(checks).buffer_unordered(2).collect::<()>().await;
    }
}

#[test]
fn every_damage_is_planted_and_the_table_knows_it() {
    let planted: BTreeSet<Damage> = all()
        .flat_map(|planted| planted.found)
        .map(|(damage, _)| *damage)
        .collect();
    let listed: BTreeSet<Damage> = DAMAGES.iter().map(|entry| entry.damage).collect();
    assert_eq!(planted, listed);
    assert_eq!(DAMAGES.len(), listed.len());
    for planted in all() {
        let mends = |(damage, _): &(Damage, usize)| damage.entry().repair.is_some();
        assert_eq!(
            planted.found.iter().any(mends) || planted.found.is_empty(),
            planted.left != Left::Damage
        );
    }
}

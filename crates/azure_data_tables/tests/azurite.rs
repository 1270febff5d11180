//! Every operation against the Azurite emulator, or against a real account.
//!
//! Runs when `AZURITE_CONNECTION_STRING` is set, or `AZURITE_TABLE_ENDPOINT` for Azurite's own account; otherwise each
//! test says why it did nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use azure_core::{
    Uuid,
    http::{ClientOptions, Etag, Transport},
    time::parse_rfc3339,
};
use azure_data_tables::{
    Comparison, Entity, Error, Filter, IfMatch, Property, QueryEntitiesOptions, Result, TableClient,
    TableClientOptions, TableServiceClient, TransactionAction, UpdateMode, error_code,
};

const EMULATOR: &str = "AccountName=devstoreaccount1;\
    AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A new table that is there until the test is done.
async fn with_table(test: impl AsyncFnOnce(&TableClient)) {
    let Some(connection_string) = connection_string() else {
        eprintln!("skipped: neither AZURITE_CONNECTION_STRING nor AZURITE_TABLE_ENDPOINT is set");
        return;
    };
    let options = TableClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(http_client()))),
            ..ClientOptions::default()
        },
        ..TableClientOptions::default()
    };
    let service = TableServiceClient::from_connection_string(&connection_string, Some(options)).unwrap();
    let table = service.table_client(&new_name()).unwrap();
    table.create_table().await.unwrap();
    test(&table).await;
    table.delete_table().await.unwrap();
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration but the environment"
)]
fn connection_string() -> Option<String> {
    std::env::var("AZURITE_CONNECTION_STRING").ok().or_else(|| {
        let endpoint = std::env::var("AZURITE_TABLE_ENDPOINT").ok()?;
        Some(format!("{EMULATOR};TableEndpoint={endpoint}"))
    })
}

/// Unlike any other, also those of earlier runs: a deleted table's name is taken for a while.
fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let random = RandomState::new().hash_one(());
    format!("test{random:016x}x{}", COUNT.fetch_add(1, SeqCst))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this test where HTTP clients are made"
)]
fn http_client() -> reqwest::Client {
    // Another test in this process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[track_caller]
fn check<T: std::fmt::Debug>(outcome: Result<T>, status: u16, code: &str) -> Error {
    let error = outcome.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(status), Some(code)), "{error:?}");
    assert!(!error.is_ambiguous());
    error
}

fn insert(row_key: &str) -> TransactionAction {
    TransactionAction::Insert(Entity::new("p", row_key).with("n", 1_i32))
}

fn delete(row_key: &str, if_match: IfMatch) -> TransactionAction {
    TransactionAction::Delete {
        partition_key: "p".to_owned(),
        row_key: row_key.to_owned(),
        if_match,
    }
}

#[tokio::test]
async fn a_table_can_be_made_twice() {
    with_table(async |table| table.create_table().await.unwrap()).await;
}

#[tokio::test]
async fn every_type_of_property_comes_back_as_it_was() {
    with_table(async |table| {
        let entity = Entity::new("p", "r")
            .with("binary", (0..=255).cycle().take(64 * 1024).collect::<Vec<u8>>())
            .with("empty", Vec::new())
            .with("boolean", false)
            .with("date", parse_rfc3339("2026-11-22T15:00:00.1234567Z").unwrap())
            .with("double", 0.1)
            .with("whole", 3.0)
            .with("guid", Uuid::from_u128(7))
            .with("int32", i32::MIN)
            .with("int64", i64::MIN)
            .with("text", "line\r\n--batch_\"'{}ü😀")
            .with("blank", "");
        let etag = table.insert_entity(entity.clone()).await.unwrap();
        let read = table.get_entity("p", "r").await.unwrap();
        assert!(read.etag.is_some() && read.timestamp.is_some());
        assert_eq!(read.etag, etag);
        assert_eq!(read.properties, entity.properties);
        let page = table.query_page(&QueryEntitiesOptions::default()).await.unwrap();
        assert_eq!(page.entities, [read]);
        let upsert = TransactionAction::Upsert(entity.clone(), UpdateMode::Replace);
        table.submit_transaction(&[upsert]).await.unwrap();
        assert_eq!(table.get_entity("p", "r").await.unwrap().properties, entity.properties);
    })
    .await;
}

#[tokio::test]
async fn keys_are_taken_literally() {
    with_table(async |table| {
        table.insert_entity(Entity::new("p", "secret")).await.unwrap();
        // Inside a transaction Azurite 3.37 can't tell the last of these from the URL's own syntax.
        let keys = ["o'brien", "a b%20+&=;,@:()", "ü😀", "'", "secret',PartitionKey='p"];
        for (i, key) in keys.into_iter().enumerate() {
            let entity = Entity::new("p", key);
            table.insert_entity(entity.clone()).await.unwrap();
            assert_eq!(table.get_entity("p", key).await.unwrap().row_key, key);
            let exact = Filter::new("RowKey", Comparison::Eq, key);
            let options = QueryEntitiesOptions {
                filter: Some(exact),
                ..QueryEntitiesOptions::default()
            };
            assert_eq!(table.query_page(&options).await.unwrap().entities[0].row_key, key);
            if i + 1 < keys.len() {
                let update = TransactionAction::Update(entity, UpdateMode::Replace, IfMatch::Any);
                table.submit_transaction(&[update, insert("x")]).await.unwrap();
                table
                    .submit_transaction(&[delete("x", IfMatch::Any), delete(key, IfMatch::Any)])
                    .await
                    .unwrap();
            } else {
                table.delete_entity("p", key, IfMatch::Any).await.unwrap();
            }
            check(table.get_entity("p", key).await, 404, error_code::RESOURCE_NOT_FOUND);
        }
        assert_eq!(table.get_entity("p", "secret").await.unwrap().row_key, "secret");
    })
    .await;
}

#[tokio::test]
async fn single_changes_keep_their_conditions() {
    with_table(async |table| {
        let entity = Entity::new("p", "r").with("a", 1_i32).with("b", 2_i32);
        let stale = IfMatch::Etag(table.insert_entity(entity.clone()).await.unwrap().unwrap());
        check(
            table.insert_entity(entity.clone()).await,
            409,
            error_code::ENTITY_ALREADY_EXISTS,
        );

        let patch = Entity::new("p", "r").with("b", 3_i32);
        let etag = table
            .update_entity(patch, UpdateMode::Merge, stale.clone())
            .await
            .unwrap()
            .unwrap();
        let read = table.get_entity("p", "r").await.unwrap();
        assert_eq!(read.properties, entity.clone().with("b", 3_i32).properties);
        assert_eq!(read.etag, Some(etag.clone()));

        let changed = error_code::UPDATE_CONDITION_NOT_SATISFIED;
        for mode in [UpdateMode::Merge, UpdateMode::Replace] {
            check(
                table.update_entity(entity.clone(), mode, stale.clone()).await,
                412,
                changed,
            );
            let missing = table.update_entity(Entity::new("p", "none"), mode, IfMatch::Any).await;
            check(missing, 404, error_code::RESOURCE_NOT_FOUND);
            let missing = table.update_entity(Entity::new("p", "none"), mode, stale.clone()).await;
            check(missing, 404, error_code::RESOURCE_NOT_FOUND);
        }
        check(table.delete_entity("p", "r", stale.clone()).await, 412, changed);
        check(
            table.delete_entity("p", "none", IfMatch::Any).await,
            404,
            error_code::RESOURCE_NOT_FOUND,
        );

        table
            .update_entity(Entity::new("p", "r"), UpdateMode::Replace, IfMatch::Etag(etag))
            .await
            .unwrap();
        assert!(table.get_entity("p", "r").await.unwrap().properties.is_empty());
        for key in ["r", "new"] {
            table
                .upsert_entity(Entity::new("p", key).with("c", true), UpdateMode::Replace)
                .await
                .unwrap();
            table
                .upsert_entity(Entity::new("p", key).with("d", true), UpdateMode::Merge)
                .await
                .unwrap();
            assert_eq!(table.get_entity("p", key).await.unwrap().properties.len(), 2);
        }
        table.delete_entity("p", "r", IfMatch::Any).await.unwrap();
        check(table.get_entity("p", "r").await, 404, error_code::RESOURCE_NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_merge_without_properties_changes_the_etag_only() {
    with_table(async |table| {
        let entity = Entity::new("p", "r").with("a", 1_i32);
        let etag = table.insert_entity(entity.clone()).await.unwrap();
        let touch = || TransactionAction::Update(Entity::new("p", "r"), UpdateMode::Merge, IfMatch::Any);
        let single = table.submit(&touch()).await.unwrap();
        let joined = table.submit_transaction(&[insert("x"), touch()]).await.unwrap();
        assert!(etag != single && single != joined[1]);
        let read = table.get_entity("p", "r").await.unwrap();
        assert_eq!((read.properties, read.etag), (entity.properties, joined[1].clone()));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing_and_names_what_failed() {
    with_table(async |table| {
        let etags = table
            .submit_transaction(&[insert("a"), insert("b"), insert("c")])
            .await
            .unwrap();
        for (key, etag) in ["a", "b", "c"].iter().zip(&etags) {
            assert_eq!(table.get_entity("p", key).await.unwrap().etag, *etag);
        }
        let etag = |i: usize| IfMatch::Etag(etags[i].clone().unwrap());
        let stale = || IfMatch::Etag(Etag::from("W/\"datetime'2001-01-01T00%3A00%3A00.0000000Z'\""));
        let update =
            |key: &str, if_match| TransactionAction::Update(Entity::new("p", key), UpdateMode::Replace, if_match);

        let exists = error_code::ENTITY_ALREADY_EXISTS;
        let missing = error_code::RESOURCE_NOT_FOUND;
        let changed = error_code::UPDATE_CONDITION_NOT_SATISFIED;
        for (failing, status, code) in [
            (insert("a"), 409, exists),
            (update("a", stale()), 412, changed),
            (update("none", IfMatch::Any), 404, missing),
            (update("none", stale()), 404, missing),
            (delete("a", stale()), 412, changed),
            (delete("none", IfMatch::Any), 404, missing),
        ] {
            for index in [0, 1, 2] {
                let mut actions = vec![insert("x"), delete("b", IfMatch::Any)];
                actions.insert(index, failing.clone());
                let error = check(table.submit_transaction(&actions).await, status, code);
                assert_eq!(error.failed_index(), Some(index), "{error:?}");
            }
            let error = check(table.submit_transaction(&[failing]).await, status, code);
            assert_eq!(error.failed_index(), Some(0), "{error:?}");
        }
        check(table.get_entity("p", "x").await, 404, missing);
        table.get_entity("p", "b").await.unwrap();

        let actions = [
            update("a", etag(0)),
            delete("b", etag(1)),
            delete("c", IfMatch::Any),
            insert("x"),
        ];
        let etags = table.submit_transaction(&actions).await.unwrap();
        assert_eq!(table.get_entity("p", "x").await.unwrap().etag, etags[3]);
        check(table.get_entity("p", "b").await, 404, missing);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_has_up_to_100_actions_and_4_mebibytes() {
    with_table(async |table| {
        let actions: Vec<_> = (0..100).map(|i| insert(&format!("k{i:03}"))).collect();
        assert_eq!(table.submit_transaction(&actions).await.unwrap().len(), 100);
        let entity = |row: usize| {
            let empty = Entity::new("large", format!("k{row}"));
            (0..8).fold(empty, |entity, i| entity.with(format!("b{i}"), vec![0xfe; 64 * 1024]))
        };
        let actions: Vec<_> = (0..5).map(|row| TransactionAction::Insert(entity(row))).collect();
        table.submit_transaction(&actions).await.unwrap();
        assert_eq!(
            table.get_entity("large", "k4").await.unwrap().properties,
            entity(4).properties
        );
    })
    .await;
}

#[tokio::test]
async fn a_query_is_in_key_order_and_goes_on_over_pages() {
    with_table(async |table| {
        for chunk in (0..1050).collect::<Vec<_>>().chunks(100) {
            let actions: Vec<_> = chunk.iter().rev().map(|i| insert(&format!("k{i:04}"))).collect();
            table.submit_transaction(&actions).await.unwrap();
        }
        table.insert_entity(Entity::new("q", "k0000")).await.unwrap();
        let filter = Filter::new("PartitionKey", Comparison::Eq, "p")
            .and(Filter::new("RowKey", Comparison::Ge, "k0010"))
            .and(Filter::new("RowKey", Comparison::Lt, "k1040"));
        for (top, pages) in [(None, 2), (Some(500), 3), (Some(1000), 2)] {
            let mut pager = table.query_entities(QueryEntitiesOptions {
                filter: Some(filter.clone()),
                select: vec!["RowKey".to_owned()],
                top,
                continuation: None,
            });
            let (mut keys, mut count) = (Vec::new(), 0);
            while let Some(page) = pager.next_page().await.unwrap() {
                count += 1;
                keys.extend(page.entities.into_iter().map(|entity| {
                    assert!(entity.properties.is_empty(), "{entity:?}");
                    entity.row_key
                }));
            }
            let expected: Vec<_> = (10..1040).map(|i| format!("k{i:04}")).collect();
            assert_eq!((keys, count), (expected, pages), "{top:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn filters_compare_every_type() {
    with_table(async |table| {
        let values: [(&str, Property); 6] = [
            ("boolean", true.into()),
            ("date", parse_rfc3339("2026-11-22T15:00:00Z").unwrap().into()),
            ("double", 0.5.into()),
            ("guid", Uuid::from_u128(7).into()),
            ("int64", 7_i64.into()),
            ("text", "it's".into()),
        ];
        let entity = values.iter().fold(Entity::new("p", "r"), |entity, (name, value)| {
            entity.with(*name, value.clone())
        });
        table.insert_entity(entity).await.unwrap();
        for (name, value) in values {
            for (comparison, found) in [(Comparison::Eq, 1), (Comparison::Ne, 0)] {
                let options = QueryEntitiesOptions {
                    filter: Some(Filter::new(name, comparison, value.clone())),
                    ..QueryEntitiesOptions::default()
                };
                let page = table.query_page(&options).await.unwrap();
                assert_eq!(page.entities.len(), found, "{name} {comparison:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_missing_table_is_told_from_a_missing_entity() {
    with_table(async |table| {
        check(table.get_entity("p", "r").await, 404, error_code::RESOURCE_NOT_FOUND);
        table.delete_table().await.unwrap();
        let gone = error_code::TABLE_NOT_FOUND;
        check(table.get_entity("p", "r").await, 404, gone);
        check(table.insert_entity(Entity::new("p", "r")).await, 404, gone);
        check(table.query_page(&QueryEntitiesOptions::default()).await, 404, gone);
        check(table.submit_transaction(&[insert("a"), insert("b")]).await, 404, gone);
        table.create_table().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_is_told_by_its_code() {
    with_table(async |_| {
        let right = connection_string().unwrap();
        let wrong = right.replace("AccountKey=", "AccountKey=AAAA");
        let service = TableServiceClient::from_connection_string(&wrong, None).unwrap();
        let error = service
            .table_client("anytable")
            .unwrap()
            .get_entity("p", "r")
            .await
            .unwrap_err();
        assert_eq!(error.status(), Some(403), "{error:?}");
        assert!(error.code().is_some_and(|code| code.starts_with("Auth")), "{error:?}");
    })
    .await;
}

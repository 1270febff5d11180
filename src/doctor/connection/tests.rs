use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::spawn,
    time::sleep,
};

use super::{Connection, MAX_ANSWER, MAX_UNASKED, Quiet, Sent};
use crate::doctor::fault::Fault;

const PATIENCE: Duration = Duration::from_secs(5);
/// What one read may bring beyond a bound.
const ROOM: usize = 1024 * 1024;

fn connection() -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(64 * 1024);
    (Connection::new(Box::new(ours)), theirs)
}

/// Says this, and never stops.
fn flood(mut peer: DuplexStream, first: &'static [u8]) {
    spawn(async move {
        peer.write_all(first).await.unwrap();
        while peer.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
    });
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_without_end_is_read_up_to_the_bound() {
    let (mut connection, peer) = connection();
    flood(peer, b"HTTP/1.1 401 X\r\nContent-Length: 999999999999\r\n\r\n");
    assert_eq!(
        connection.send_large(&vec![b' '; 5_000_000], PATIENCE).await,
        Sent::Stuck
    );
    assert!(connection.come.len() < MAX_ANSWER + ROOM);
    let answer = connection.answer(false, PATIENCE).await;
    assert_eq!(answer.flaws[0].fault, Fault::NoAnswer);
    assert_eq!(connection.come.capacity(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_what_nobody_asked_for_only_the_start_is_read() {
    let (mut connection, peer) = connection();
    flood(peer, b"hello");
    let Quiet::Spoke(flaw) = connection.quiet(Duration::from_hours(1)).await else {
        panic!("bytes came");
    };
    assert_eq!(flaw.fault, Fault::LateBytes);
    let count: usize = flaw.seen.split(' ').next().unwrap().parse().unwrap();
    assert!((MAX_UNASKED..MAX_UNASKED + ROOM).contains(&count), "{count}");
}

/// Takes the body in pieces with this pause between them, then answers.
fn take_slowly(mut peer: DuplexStream, length: usize, pause: Duration) {
    spawn(async move {
        let mut left = length;
        while left > 0 {
            sleep(pause).await;
            left -= peer.read(&mut vec![0; 30_000]).await.unwrap();
        }
        peer.write_all(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        sleep(PATIENCE).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_goes_on_while_it_is_taken() {
    let (mut connection, peer) = connection();
    let body = vec![b' '; 5_000_000];
    take_slowly(peer, body.len(), Duration::from_millis(100));
    assert_eq!(connection.send_large(&body, PATIENCE).await, Sent::All);
    let answer = connection.answer(false, PATIENCE).await;
    assert_eq!(answer.response.map(|response| response.status), Some(401));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_too_slow_is_not_stuck() {
    let (mut connection, peer) = connection();
    let body = vec![b' '; 5_000_000];
    take_slowly(peer, body.len(), Duration::from_secs(1));
    assert_eq!(connection.send_large(&body, PATIENCE).await, Sent::Slow);
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_which_nothing_is_taken_is_stuck() {
    let (mut connection, _peer) = connection();
    assert_eq!(
        connection.send_large(&vec![b' '; 5_000_000], PATIENCE).await,
        Sent::Stuck
    );
}

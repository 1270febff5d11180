//! The host's own rows in Application Insights.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use functions_test_host::Mode;
use serde_json::Value;

use crate::support::{Fixture, Request};

/// An ingestion endpoint: the connection string that names it, and the rows that come.
fn endpoint() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = format!(
        "InstrumentationKey=1;IngestionEndpoint=http://{}/;",
        listener.local_addr().unwrap()
    );
    let (give, rows) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let head: Vec<String> = reader
                .by_ref()
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let length = head
                .iter()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            (&stream)
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            give.send(serde_json::from_reader(GzDecoder::new(&body[..])).unwrap())
                .unwrap();
        }
    });
    (connection, rows)
}

/// With `Host.Results` at `Warning` what goes well has no row any more, as after `default` alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_well_has_a_row_where_host_results_is_information() {
    for mode in [Mode::Proxy, Mode::Forward] {
        for (level, expected) in [("Information", vec!["200", "500"]), ("Warning", vec!["500"])] {
            let (connection, rows) = endpoint();
            let host = Fixture::new(mode)
                .set("APPLICATIONINSIGHTS_CONNECTION_STRING", &connection)
                .job_host("logging__logLevel__default", "Warning")
                .job_host("logging__logLevel__Host.Results", level)
                .start()
                .await;
            host.send("GET /well").await;
            host.send(
                Request::from("POST /ill")
                    .header("echo-raw", "none")
                    .header("echo-then", "close")
                    .body("x"),
            )
            .await;
            let found: Vec<Value> = expected
                .iter()
                .map(|_| rows.recv_timeout(Duration::from_secs(20)).unwrap())
                .collect();
            let mut codes: Vec<&str> = found
                .iter()
                .map(|row| row["data"]["baseData"]["responseCode"].as_str().unwrap())
                .collect();
            codes.sort_unstable();
            assert_eq!(codes, expected, "{mode:?} {level}");
            assert!(rows.try_recv().is_err());
        }
    }
}

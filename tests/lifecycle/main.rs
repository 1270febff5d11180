//! The end of a process, of a connection, of a request, at the wrong moment: what was answered is there, and nothing is half
//! there. Reading order: this file (the executable on a store of its own), `client` (a customer who knows what must be
//! there), `load` (twenty of them), then what goes wrong: `kills`, `deploys`, `again`, `gone`.

#![expect(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

mod again;
mod client;
mod deploys;
mod gone;
mod kills;
mod load;

const TENANT: &str = "acme";
const SECRET: &str = "sg_a_secret_that_is_long_enough_for_a_load";

/// A store of its own, as settings of whoever uses it.
struct Desk {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Desk {
    /// A file.
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", folder.path().join("rows.db").display());
        Self::new(folder, vec![("SCIMGATE_STORE", store)])
    }

    /// A table of the Azurite that `./test` starts, if it did.
    fn tables() -> Option<Self> {
        let connection = functions_test_host::process_environment().remove("AZURITE_CONNECTION_STRING");
        let table = format!("t{:016x}", fastrand::u64(..));
        let settings = vec![
            ("SCIMGATE_STORE", "tables:".to_owned()),
            ("SCIMGATE_TABLES_CONNECTION", connection?),
            ("SCIMGATE_TABLE", table),
        ];
        Some(Self::new(tempfile::tempdir().unwrap(), settings))
    }

    fn new(folder: TempDir, mut settings: Vec<(&'static str, String)>) -> Self {
        for (name, value) in [
            ("SCIMGATE_BOOTSTRAP_TENANT", TENANT),
            ("SCIMGATE_BOOTSTRAP_TOKEN", SECRET),
            ("SCIMGATE_TENANT_RATE", "0"),
        ] {
            settings.push((name, value.to_owned()));
        }
        Self { folder, settings }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scimgate"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Every row fits to every other.
    #[track_caller]
    fn is_sound(&self) {
        let check = self.command(&["check", TENANT]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}

/// `scimgate serve`; killed at the latest when the test ends.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// On a free port, which this setting gives it.
    fn start(desk: &Desk, port_setting: &str) -> Self {
        let mut command = desk.command(&["serve"]);
        let mut child = command.env(port_setting, "0").stdout(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        let port = line.split("port ").nth(1).unwrap();
        let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse();
        // One line for each request follows; somebody has to take them.
        std::thread::spawn(move || std::io::copy(&mut log.by_ref(), &mut std::io::sink()));
        Self {
            child,
            port: port.unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! What the container that we run in may use, uses, and waits for: control groups (version 2) and pressure, as the kernel's
//! `admin-guide/cgroup-v2.rst` and `accounting/psi.rst` spell them. Where the Functions host runs in the same
//! container, memory may run out though we have little of it. Nothing where the system tells nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Microseconds, which `cpu.stat` counts, of a second.
const MICROS: f64 = 1e6;

/// Whose files are read; another one in tests.
#[derive(Clone)]
pub(super) struct Container {
    /// This process's control group.
    group: PathBuf,
    /// Pressure of the whole system.
    pressure: PathBuf,
}

impl Container {
    /// The one that this process runs in.
    pub(super) fn own() -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
        Self {
            group: Path::new("/sys/fs/cgroup").join(path),
            pressure: PathBuf::from("/proc/pressure"),
        }
    }

    /// Bytes that all its processes have together.
    pub(super) fn memory(&self) -> Option<f64> {
        self.number("memory.current")
    }

    /// Bytes that they may have; nothing if there is no bound.
    pub(super) fn memory_limit(&self) -> Option<f64> {
        self.number("memory.max")
    }

    /// Processors that it may use; nothing if there is no bound.
    pub(super) fn cpu_limit(&self) -> Option<f64> {
        let text = fs::read_to_string(self.group.join("cpu.max")).ok()?;
        let (quota, period) = text.trim_end().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    }

    /// Seconds on a processor, of all its processes.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        self.stat("usage_usec")
    }

    /// Seconds for which it was kept from its processors because its quota was used up.
    pub(super) fn throttled_seconds(&self) -> Option<f64> {
        self.stat("throttled_usec")
    }

    /// Share of the last minute in which somebody waited, by what they waited for.
    pub(super) fn pressure(&self) -> impl Iterator<Item = (&'static str, f64)> {
        ["cpu", "memory", "io"].into_iter().filter_map(|resource| {
            let text = fs::read_to_string(self.pressure.join(resource)).ok()?;
            let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
            let percent = some.split(' ').find_map(|field| field.strip_prefix("avg60="))?;
            Some((resource, percent.parse::<f64>().ok()? / 100.0))
        })
    }

    fn number(&self, file: &str) -> Option<f64> {
        fs::read_to_string(self.group.join(file)).ok()?.trim_end().parse().ok()
    }

    fn stat(&self, field: &str) -> Option<f64> {
        let text = fs::read_to_string(self.group.join("cpu.stat")).ok()?;
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        let (_, micros) = fields.find(|(name, _)| *name == field)?;
        Some(micros.parse::<f64>().ok()? / MICROS)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Container;

    #[test]
    fn a_container_is_measured_as_linux_spells_it() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("memory.current", "104857600\n"),
            ("memory.max", "536870912\n"),
            ("cpu.max", "150000 100000\n"),
            (
                "cpu.stat",
                "usage_usec 2500000\nuser_usec 2000000\nnr_throttled 3\nthrottled_usec 750000\n",
            ),
            (
                "cpu",
                "some avg10=0.00 avg60=12.50 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            ),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let container = Container {
            group: folder.path().to_owned(),
            pressure: folder.path().to_owned(),
        };
        let read = [
            container.memory(),
            container.memory_limit(),
            container.cpu_limit(),
            container.cpu_seconds(),
            container.throttled_seconds(),
        ];
        assert_eq!(read, [104_857_600.0, 536_870_912.0, 1.5, 2.5, 0.75].map(Some));
        assert_eq!(container.pressure().collect::<Vec<_>>(), [("cpu", 0.125)]);
    }

    #[test]
    fn what_has_no_bound_or_is_not_there_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("memory.max"), "max\n").unwrap();
        fs::write(folder.path().join("cpu.max"), "max 100000\n").unwrap();
        let container = Container {
            group: folder.path().to_owned(),
            pressure: folder.path().join("none"),
        };
        let read = [
            container.memory(),
            container.memory_limit(),
            container.cpu_limit(),
            container.cpu_seconds(),
        ];
        assert_eq!(read, [None; 4]);
        assert_eq!(container.pressure().count(), 0);
    }
}

//! What a case is, and where it runs.

use futures::future::LocalBoxFuture;

use crate::{
    tenant::Tenant,
    world::{Setup, Way},
};

/// One fact about the service, found out over HTTP with a tenant of its own. It panics when the fact does not hold.
pub(crate) struct Case {
    /// The module's last part.
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: for<'t> fn(&'t Tenant) -> LocalBoxFuture<'t, ()>,
    pub(crate) setup: Setup,
    /// Runs in this way only, and why.
    pub(crate) only: Option<(Way, &'static str)>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// What stands in front makes a case impossible.
pub(crate) struct LeftOut {
    pub(crate) way: Way,
    /// What it does to the request or to the answer.
    pub(crate) distortion: &'static str,
    /// The case of the same module that says, in that way only, what becomes of it.
    pub(crate) sibling: &'static str,
}

impl Case {
    pub(crate) fn new(
        module: &'static str,
        name: &'static str,
        run: for<'t> fn(&'t Tenant) -> LocalBoxFuture<'t, ()>,
    ) -> Case {
        Case {
            module: module.rsplit("::").next().unwrap_or(module),
            name,
            run,
            setup: Setup::Standard,
            only: None,
            left_out: Vec::new(),
        }
    }

    /// Runs against a service with other settings.
    pub(crate) fn with(self, setup: Setup) -> Case {
        Case { setup, ..self }
    }

    pub(crate) fn only(self, way: Way, why: &'static str) -> Case {
        Case {
            only: Some((way, why)),
            ..self
        }
    }

    pub(crate) fn not_in(mut self, way: Way, distortion: &'static str, sibling: &'static str) -> Case {
        self.left_out.push(LeftOut {
            way,
            distortion,
            sibling,
        });
        self
    }

    pub(crate) fn runs_in(&self, way: Way) -> bool {
        self.only.is_none_or(|(only, _)| only.is_like(way))
            && self.left_out.iter().all(|left_out| !left_out.way.is_like(way))
    }
}

/// A module's cases: `cases![a_fact, another.with(Setup::BasePaths), a_third.not_in(Way::Forward, "…", "a_sibling")]`.
macro_rules! cases {
    ($($name:ident $(.$place:ident($($argument:tt)*))*),+ $(,)?) => {
        pub(crate) fn cases() -> Vec<$crate::case::Case> {
            vec![$(
                $crate::case::Case::new(module_path!(), stringify!($name), |tenant| Box::pin($name(tenant)))
                    $(.$place($($argument)*))*
            ),+]
        }
    };
}

pub(crate) use cases;

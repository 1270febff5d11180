//! FORWARD mode.
use http::Response;

use crate::Body;
use crate::inbound::Inbound;
use crate::invocation::Failure;
use crate::pool::Pool;

pub(crate) async fn exchange(_pool: &Pool, _inbound: Inbound) -> Result<Response<Body>, Failure> {
    Err(Failure::Broken)
}

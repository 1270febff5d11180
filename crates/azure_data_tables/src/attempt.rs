//! The bounds of one try: how long it may take and how much it may bring.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    Bytes,
    error::ErrorKind,
    http::{
        AsyncRawResponse, AsyncResponseBody, Context, Request,
        policies::{Policy, PolicyResult},
    },
};
use futures::StreamExt;

/// Ends a try that takes too long or brings too much. Stands behind the policies that get a token and in front of the
/// transport, and reads the body inside the time.
#[derive(Debug)]
pub(crate) struct AttemptPolicy {
    pub(crate) timeout: Duration,
    pub(crate) max_bytes: usize,
}

#[async_trait]
impl Policy for AttemptPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let attempt = async {
            let response = next[0].send(ctx, request, &next[1..]).await?;
            let (status, headers, body) = response.deconstruct();
            let body = self.read(body).await?;
            Ok(AsyncRawResponse::from_bytes(status, headers, body))
        };
        tokio::time::timeout(self.timeout, attempt)
            .await
            .unwrap_or_else(|_| Err(AttemptError::Timeout(self.timeout).into()))
    }
}

impl AttemptPolicy {
    async fn read(&self, mut body: AsyncResponseBody) -> azure_core::Result<Bytes> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(AttemptError::TooLarge.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }
}

/// Why a try was ended from this side.
#[derive(Debug)]
pub(crate) enum AttemptError {
    Timeout(Duration),
    TooLarge,
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(after) => write!(f, "not complete after {} ms", after.as_millis()),
            Self::TooLarge => f.write_str("larger than this client reads"),
        }
    }
}

impl std::error::Error for AttemptError {}

impl From<AttemptError> for azure_core::Error {
    fn from(error: AttemptError) -> Self {
        Self::new(ErrorKind::Io, error)
    }
}

//! Queries for Application Insights and Log Analytics, with the time and the tenant filled in.

use std::fmt::Write;

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Everything of one request, by the trace of its reference.
    Reference,
    /// Which requests of the tenant the application saw around the time.
    Around,
    /// Which requests the Functions host had and the application did not.
    HostOnly,
    /// Which processes started, ended, or fell silent.
    Restarts,
    /// What the application refused for its load.
    Load,
    /// What Application Gateway's firewall blocked.
    GatewayFirewall,
    /// What Front Door's firewall blocked.
    FrontDoorFirewall,
}

/// What fills a query.
#[derive(Clone, Debug, Default)]
pub struct Filling {
    /// When it was.
    pub at: Option<OffsetDateTime>,
    /// The tenant's id or name in the telemetry.
    pub tenant: Option<String>,
    /// The trace of the reference.
    pub trace: Option<String>,
}

impl Query {
    /// For people: what it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Reference => "everything about this one request",
            Self::Around => "did a request reach the application at that time? No row means no",
            Self::HostOnly => "requests that the Functions host had and the application did not",
            Self::Restarts => "processes that started or ended around then",
            Self::Load => "slow and refused requests around then, by minute",
            Self::GatewayFirewall => "what Application Gateway's firewall blocked, and by which rule",
            Self::FrontDoorFirewall => "what Front Door's firewall blocked, and by which rule",
        }
    }

    /// The query; what is not known stands there in braces.
    pub fn text(self, filling: &Filling) -> String {
        let minutes = match self {
            Self::Reference => 24 * 60,
            Self::Around => 2,
            Self::HostOnly | Self::GatewayFirewall | Self::FrontDoorFirewall => 5,
            Self::Restarts | Self::Load => 15,
        };
        let (from, to) = match filling.at {
            Some(at) => (
                moment(at - Duration::minutes(minutes)),
                moment(at + Duration::minutes(minutes)),
            ),
            None => ("{from}".to_owned(), "{to}".to_owned()),
        };
        let or_open = |text: &Option<String>, open: &str| literal(text.as_deref().unwrap_or(open));
        self.template()
            .replace("<from>", &from)
            .replace("<to>", &to)
            .replace("<tenant>", &or_open(&filling.tenant, "{tenant}"))
            .replace("<trace>", &or_open(&filling.trace, "{trace}"))
    }

    fn template(self) -> &'static str {
        match self {
            Self::Reference => {
                "union withsource = source_table requests, dependencies, exceptions, traces, customEvents\n\
                 | where timestamp between (datetime(<from>) .. datetime(<to>)) and operation_Id == \"<trace>\"\n\
                 | project timestamp, source_table, cloud_RoleName, cloud_RoleInstance, name, message, resultCode, success, duration\n\
                 | order by timestamp asc"
            }
            Self::Around => {
                "requests\n\
                 | where timestamp between (datetime(<from>) .. datetime(<to>)) and cloud_RoleName == \"scim.handler\"\n\
                 | where customDimensions[\"scim.tenant\"] == \"<tenant>\"\n\
                 | project timestamp, duration, verb = tostring(customDimensions[\"http.request.method\"]), resultCode, operation_Id, cloud_RoleInstance\n\
                 | order by timestamp asc"
            }
            Self::HostOnly => {
                "let seen = requests\n\
                 | where timestamp between (datetime(<from>) .. datetime(<to>)) and cloud_RoleName == \"scim.handler\"\n\
                 | distinct invocation = tostring(customDimensions[\"faas.invocation_id\"]);\n\
                 requests\n\
                 | where timestamp between (datetime(<from>) .. datetime(<to>)) and cloud_RoleName != \"scim.handler\"\n\
                 | extend invocation = tostring(customDimensions[\"InvocationId\"])\n\
                 | where isnotempty(invocation) and invocation !in (seen)\n\
                 | project timestamp, duration, resultCode, cloud_RoleInstance, operation_Id\n\
                 | order by timestamp asc"
            }
            Self::Restarts => {
                "union (customEvents | where name in (\"ProcessStarted\", \"ShutdownStarted\", \"ShutdownFinished\")),\n\
                 \x20     (customMetrics | where name == \"process.uptime\" and value < 60)\n\
                 | where timestamp between (datetime(<from>) .. datetime(<to>)) and cloud_RoleName == \"scim.handler\"\n\
                 | project timestamp, name, value, cloud_RoleInstance, application_Version\n\
                 | order by timestamp asc"
            }
            Self::Load => {
                "requests\n\
                 | where timestamp between (datetime(<from>) .. datetime(<to>)) and cloud_RoleName == \"scim.handler\"\n\
                 | summarize requests = sum(itemCount), throttled = sumif(itemCount, resultCode == \"429\"), failed = sumif(itemCount, toint(resultCode) >= 500), p95Ms = percentile(duration, 95), maxMs = max(duration) by bin(timestamp, 1m), cloud_RoleInstance\n\
                 | order by timestamp asc"
            }
            Self::GatewayFirewall => {
                "AGWFirewallLogs\n\
                 | where TimeGenerated between (datetime(<from>) .. datetime(<to>)) and Action in (\"Blocked\", \"Matched\")\n\
                 | project TimeGenerated, Action, RuleId, Message, TransactionId\n\
                 | order by TimeGenerated asc"
            }
            Self::FrontDoorFirewall => {
                "AzureDiagnostics\n\
                 | where TimeGenerated between (datetime(<from>) .. datetime(<to>))\n\
                 | where Category == \"FrontDoorWebApplicationFirewallLog\" and action_s == \"Block\"\n\
                 | project TimeGenerated, ruleName_s, trackingReference_s\n\
                 | order by TimeGenerated asc"
            }
        }
    }
}

/// A time as queries take it, in UTC.
pub fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    at.format(&Rfc3339).expect("the years of a log have four digits")
}

/// What may stand between quotation marks.
pub fn literal(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                let _ = write!(clean, "\\{c}");
            }
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

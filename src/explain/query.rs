//! Queries for Application Insights and Log Analytics, with the time and the tenant filled in: those of the workbook, and some
//! of this command's own.

use std::fmt::Write;

use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// A row's time is not exactly its request's: seconds between the two.
const LEAST_SLACK: u64 = 3;
/// More, and any request would do.
const MOST_SLACK: u64 = 60;

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Everything of one request, by its reference.
    Reference,
    /// Which requests of the tenant the application saw around the time.
    Around,
    /// Which rows of a provisioning log have a request.
    Rows,
    /// Which requests the Functions host had and the application did not.
    HostOnly,
    /// Which instances fell silent.
    Gaps,
    /// Which processes started or ended.
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
    /// From when to when it was; queries look somewhat further.
    pub span: Option<(OffsetDateTime, OffsetDateTime)>,
    /// The tenant's id or name in the telemetry.
    pub tenant: Option<String>,
    /// Our own reference.
    pub reference: Option<String>,
    /// Rows of a provisioning log, as [`Query::Rows`] takes them.
    pub rows: Option<String>,
    /// Seconds that the slowest of them took.
    pub slowest: u64,
}

/// A query of `infra/kql`, which the workbook shows as well: its number, and the file.
macro_rules! kql {
    ($number:literal, $name:literal) => {
        (
            Some($number),
            include_str!(concat!("../../infra/kql/", $number, "_", $name, ".kql")),
        )
    };
}

impl Query {
    /// For people: what it shows.
    pub fn title(self) -> &'static str {
        self.parts().1
    }

    /// Its number in `infra/kql`, if it stands there.
    pub fn number(self) -> Option<&'static str> {
        self.parts().0
    }

    /// The query under its number and title; what is not known stands there in braces.
    pub fn text(self, filling: &Filling) -> String {
        let (number, title, body) = self.parts();
        let minutes = Duration::minutes(match self {
            Self::Reference | Self::Around => 2,
            Self::HostOnly | Self::GatewayFirewall | Self::FrontDoorFirewall => 5,
            Self::Rows => 10,
            Self::Gaps | Self::Restarts | Self::Load => 15,
        });
        let (from, to) = match filling.span {
            Some((from, to)) => (moment(from - minutes), moment(to + minutes)),
            None => ("{from}".to_owned(), "{to}".to_owned()),
        };
        let or_open = |text: &Option<String>, open: &str| literal(text.as_deref().unwrap_or(open));
        let slack = format!("let slack = {}s;", filling.slowest.clamp(LEAST_SLACK, MOST_SLACK));
        let body = body
            .replace("{TimeRange:start}", &format!("datetime({from})"))
            .replace("{TimeRange:end}", &format!("datetime({to})"))
            .replace("{Tenant}", &or_open(&filling.tenant, "{tenant}"))
            .replace("{Reference}", &or_open(&filling.reference, "{reference}"))
            .replace("let slack = 3s;", &slack)
            .replace(
                "{ProvisioningRows}",
                filling.rows.as_deref().unwrap_or("{rows}").trim_start(),
            );
        let number = number.map_or_else(String::new, |number| format!("{number} "));
        format!("// {number}{title}\n{}", body.trim_end())
    }

    /// Its number, its title, and what stands below.
    fn parts(self) -> (Option<&'static str>, &'static str, &'static str) {
        let (number, text) = self.template();
        let (title, body) = text.split_once('\n').unwrap_or((text, ""));
        (number, title.trim_start_matches("// Question: "), body)
    }

    fn template(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::Reference => kql!("15", "one_request"),
            Self::Rows => kql!("04", "entra_rows_without_request"),
            Self::HostOnly => kql!("03", "lost_between_host_and_handler"),
            Self::Gaps => kql!("05", "heartbeat_gaps"),
            Self::Restarts => kql!("12", "restarts_cold_starts"),
            Self::Around => (
                None,
                "// Question: did a request reach the application at that time? No row means no (04 in short, for one row)\n\
                 requests\n\
                 | where timestamp between ({TimeRange:start} .. {TimeRange:end}) and cloud_RoleName == \"scim.handler\"\n\
                 | where customDimensions[\"scim.tenant\"] == \"{Tenant}\"\n\
                 | project timestamp, duration, verb = tostring(customDimensions[\"http.request.method\"]), resultCode, operation_Id, cloud_RoleInstance\n\
                 | order by timestamp asc",
            ),
            Self::Load => (
                None,
                "// Question: slow and refused requests around then, by minute\n\
                 requests\n\
                 | where timestamp between ({TimeRange:start} .. {TimeRange:end}) and cloud_RoleName == \"scim.handler\"\n\
                 | summarize requests = sum(itemCount), throttled = sumif(itemCount, resultCode == \"429\"), failed = sumif(itemCount, toint(resultCode) >= 500), p95Ms = percentile(duration, 95), maxMs = max(duration) by bin(timestamp, 1m), cloud_RoleInstance\n\
                 | order by timestamp asc",
            ),
            Self::GatewayFirewall => (
                None,
                "// Question: what Application Gateway's firewall blocked, and by which rule\n\
                 AGWFirewallLogs\n\
                 | where TimeGenerated between ({TimeRange:start} .. {TimeRange:end}) and Action in (\"Blocked\", \"Matched\")\n\
                 | project TimeGenerated, Action, RuleId, Message, TransactionId\n\
                 | order by TimeGenerated asc",
            ),
            Self::FrontDoorFirewall => (
                None,
                "// Question: what Front Door's firewall blocked, and by which rule\n\
                 AzureDiagnostics\n\
                 | where TimeGenerated between ({TimeRange:start} .. {TimeRange:end})\n\
                 | where Category == \"FrontDoorWebApplicationFirewallLog\" and action_s == \"Block\"\n\
                 | project TimeGenerated, ruleName_s, trackingReference_s\n\
                 | order by TimeGenerated asc",
            ),
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

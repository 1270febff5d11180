//! What a person in front of Entra's portal does about more than one rule.

pub(super) const MAPPING: &str = "\
    Open Provisioning > Mappings, the mapping of users (or groups), and correct the row whose target attribute the \
    message names.";
pub(super) const MATCHING: &str = "\
    Open Provisioning > Mappings and look at the rows that take part in matching: their target attribute must be one \
    this service lists under /Schemas.";
pub(super) const PROTOCOL: &str = "\
    Nothing to set in Entra: the request itself is malformed. Entra is not known to send this: report \
    it to the maker of the client.";
pub(super) const URL: &str = "\
    Open Provisioning > Admin Credentials and paste the Tenant URL again exactly as it was handed out.";
pub(super) const TOKEN: &str = "\
    Open Provisioning > Admin Credentials, paste the secret token again, without \"Bearer\", spaces or line breaks, \
    choose Test Connection, then Save. If it fails, ask the vendor for a new token.";
pub(super) const TOKEN_OVER: &str = "\
    Ask the vendor for a new secret token, paste it under Provisioning > Admin Credentials, choose Test Connection, \
    Save, and then Restart provisioning if the job is in quarantine.";
pub(super) const LARGE: &str = "\
    Open Provisioning > Mappings and look for a row that copies very long texts, or very many values; delete it, or \
    shorten what it copies.";
pub(super) const PAUSE: &str = "\
    Nothing to do: Entra tries again by itself. Change nothing under Admin Credentials, and do not choose Restart \
    provisioning. The vendor can tell when the pause ends; Test Connection succeeds again then.";
pub(super) const RETRY: &str = "\
    Nothing to do: Entra tries again by itself in the next cycle. If it goes on for more than a few hours, send the \
    vendor the Reference at the end of the message.";
pub(super) const REPORT: &str = "\
    Send the vendor the whole message with the Reference at its end. Nothing in Entra causes this.";

// Alerts, from the queries of the workbook. docs/operate.md has a playbook for each.
param location string
param tags object
param insightsId string
param workspaceId string
@description('Where they are mailed to; empty for nobody.')
param email string
param dailyCapGb int
@description('An instance is always there, so silence means something.')
param expectsHeartbeat bool

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-scimgate'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'scimgate'
    enabled: true
    emailReceivers: empty(email) ? [] : [{ name: 'operator', emailAddress: email, useCommonAlertSchema: true }]
  }
}

// Any row of the query raises the alert, one alert for each value of dimension. from and to take the place of the workbook's time range: the queries
// that compare the host's rows with the handler's stop a few minutes before now, as not all of them have arrived.
var rules = [
  {
    name: 'lost-requests'
    title: 'Requests reached the host and not scimgate'
    severity: 1
    every: 'PT5M'
    window: 'PT30M'
    query: loadTextContent('../kql/03_lost_between_host_and_handler.kql')
    from: 'ago(15m)'
    to: 'ago(5m)'
    only: '| where verdict startswith "lost"'
    dimension: ''
    scope: 'insights'
  }
  {
    name: 'failing-tenant'
    title: 'A tenant gets answers of 500 and above'
    severity: 1
    every: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('../kql/17_failing_now.kql')
    from: 'ago(15m)'
    to: 'now()'
    only: '| where verdict == "we fail" and (failed >= 5 or failedPct >= 5)'
    dimension: 'tenant'
    scope: 'insights'
  }
  {
    name: 'quarantine-risk'
    title: 'A tenant is on its way into quarantine'
    severity: 2
    every: 'PT15M'
    window: 'P1D'
    query: loadTextContent('../kql/14_quarantine_risk.kql')
    from: 'ago(1d)'
    to: 'now()'
    only: ''
    dimension: 'tenant'
    scope: 'insights'
  }
  {
    name: 'storage-failures'
    title: 'Storage fails or does not answer'
    severity: 1
    every: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('../kql/09_dependency_failures.kql')
    from: 'ago(15m)'
    to: 'now()'
    only: '| where failed >= 10 and failedPct >= 1'
    dimension: 'failure'
    scope: 'insights'
  }
  {
    name: 'telemetry-loss'
    title: 'Telemetry is lost, or there is none'
    severity: 2
    every: 'PT15M'
    window: 'PT30M'
    query: loadTextContent('../kql/16_telemetry_health.kql')
    from: 'ago(20m)'
    to: 'ago(5m)'
    only: expectsHeartbeat ? '' : '| where what != "no heartbeat"'
    dimension: 'what'
    scope: 'insights'
  }
  {
    name: 'credential-expiring'
    title: 'A token in use expires within 30 days'
    severity: 3
    every: 'PT6H'
    window: 'P1D'
    query: loadTextContent('../kql/24_credential_expiry.kql')
    from: 'ago(1d)'
    to: 'now()'
    only: ''
    dimension: 'tenant'
    scope: 'insights'
  }
  {
    name: 'credential-refused'
    title: 'A customer uses a token that has expired or was revoked'
    severity: 2
    every: 'PT15M'
    window: 'PT1H'
    query: loadTextContent('../kql/22_unauthorized.kql')
    from: 'ago(1h)'
    to: 'now()'
    only: '| where rule in ("token-expired", "token-revoked")'
    dimension: 'tenant'
    scope: 'insights'
  }
  {
    name: 'daily-cap'
    title: 'The ration of telemetry for today is used up, or nearly'
    severity: 2
    every: 'PT1H'
    window: 'P1D'
    query: loadTextContent('../kql/25_daily_cap.kql')
    from: ''
    to: ''
    only: ''
    dimension: 'what'
    scope: 'workspace'
  }
]

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'scimgate-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: rule.title
    description: 'Playbook: docs/operate.md, ${rule.name}'
    severity: rule.severity
    enabled: true
    scopes: [rule.scope == 'workspace' ? workspaceId : insightsId]
    evaluationFrequency: rule.every
    windowSize: rule.window
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: '${replace(replace(replace(replace(replace(rule.query, '{TimeRange:start}', rule.from), '{TimeRange:end}', rule.to), '{TimeRange:grain}', '5m'), '{Tenant}', '*'), '{DailyCapGb}', string(dailyCapGb))}\n${rule.only}'
          timeAggregation: 'Count'
          dimensions: empty(rule.dimension) ? [] : [{ name: rule.dimension, operator: 'Include', values: ['*'] }]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: { actionGroups: [group.id] }
  }
}]

output actionGroupId string = group.id
